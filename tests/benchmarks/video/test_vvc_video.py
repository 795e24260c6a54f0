"""VVC as a video codec: its stream is read as it was coded, frame by frame."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from icm.errors import ConfigError
from icm_bench.video.video_codecs.vvc import VvcVideo, decode


def test_a_stream_gives_the_bytes_of_each_frame_and_pictures_in_the_order_they_are_shown() -> None:
    """VVenC made the stream of five ramps, ever bluer; the encoder itself comes from no package registry."""
    coded = base64.b64decode(
        "AAAAAQB5AKsCEIAAAICCDEqAHN/+sITZWMECCcAExAQQQQgYQhCxEIWSELUIXo9WpLySakskRaiLxEmoiRSREmSIk1GWIhCyQhahC8ISahCRSQhJ"
        "khCXUkISEiIQkURCEmIhCXURCEijIQkxkIS6jIQoEFhCCAxEIGSINSATMEEEFhACCxAICECAQFQgQCA0hAgEBYgQCAiCAQFkEAgJCAQMgICIQEBZ"
        "CAgJEBA0CAkgQOCBiAQsgQIhAgWQgQJECDQQJIIOEGQItCCSEOIaEuRyoEFhACCxAICECAQFQgQCBDMEZxBAAAAAAQCBAABBBiIkAyCAAAABADnE"
        "DQV4AtUeXZ8ctPEMJYma/iSbzO14rIRSsymnH78p2lytHM6vcb9Hg0V15oKzGAAAAAEAFZQF0SJAIPDfKFdq45ZQZxPo2yj7vT1PAAAAAQAWlAHR"
        "yOQgi8DgzO12Cai1a/iwa1jAAAAAAQAWlAmR6OVgi8BNQAAAAAEADpQR0WsCL+DJNRae82B7B31dMA=="
    )
    sizes, pictures = decode(coded)
    assert len(sizes) == len(pictures) == 5
    assert sum(sizes) == len(coded)
    assert sizes[0] == max(sizes)
    blue = [float(picture[..., 2].mean()) for picture in pictures]
    assert blue == sorted(blue)
    assert np.allclose(blue, [0, 60, 120, 180, 240], atol=12)


def test_a_missing_encoder_is_named(tmp_path: Path) -> None:
    clip = [np.zeros((48, 64, 3), np.uint8)] * 2
    with pytest.raises(ConfigError, match="build VVenC"):
        VvcVideo(tmp_path / "vvencapp").code(clip, 10, "40")
