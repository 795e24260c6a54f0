"""Our codec on a clip, in a benchmark: what it counts, and streams that it keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from icm.codec.bundle.loading import Bundle
from icm_bench.video.video_codecs.ours import OurVideoCodec
from tests.cases import moving_square


def test_a_stream_that_was_kept_is_read_again_and_shows_the_same(tmp_path: Path, bundle: Path) -> None:
    clip, loaded = moving_square(4), Bundle.load(bundle, threads=1)
    once = OurVideoCodec(loaded, points=("1",)).code(clip, 10, "1")
    codec = OurVideoCodec(loaded, points=("1",), kept=tmp_path)
    first, again = codec.code(clip, 10, "1"), codec.code(clip, 10, "1")
    assert once.frame_bytes == first.frame_bytes == again.frame_bytes
    assert first.encode_seconds == again.encode_seconds, "read, not measured anew"
    for shown, kept in zip(once.pictures, again.pictures, strict=True):
        assert np.array_equal(shown, kept)
    other = codec.code([255 - picture for picture in clip], 10, "1")
    assert not np.array_equal(other.pictures[0], again.pictures[0])
    assert codec.code(clip, 10, "2@0.5").frame_bytes != again.frame_bytes
    assert len(list(tmp_path.glob("*.icm"))) == 3
