"""The benchmark of evidence files: honest videos stay within the bounds that others break."""

from __future__ import annotations

from pathlib import Path

import pytest

from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm_bench.archive.evidence import _export, _margin
from icm_bench.archive.large_case import large_case
from tests.cases import moving_square


@pytest.mark.parametrize("quality", [0, 7])
def test_an_honest_video_stays_below_what_a_frame_may_differ_and_one_of_other_frames_does_not(quality: float) -> None:
    found = _margin(Bundle.load(DEFAULT_BUNDLE, threads=1), moving_square(14), quality)
    assert found["honest"] < 0.5
    assert found["one later"] > 1
    assert found["ten later"] > 1


def test_a_large_case_is_made_rendered_exported_and_holds(tmp_path: Path) -> None:
    row = large_case(tmp_path / "case", _export, 30)
    assert row["records"] == 30
    assert row["bytes"] > 30 * 100
    assert row["verify_peak_mb"] > 0
