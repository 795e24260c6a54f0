"""``icm-bench redetect``: each job's frames are looked at, and the table says how many."""

from __future__ import annotations

import json
from pathlib import Path

from icm_bench.archive import redetect
from tests.clips import CLIP_FRAMES
from tests.cloud_service.redetection.parts import weights_in


def test_each_way_of_choosing_frames_has_its_row(tmp_path: Path, small_clip: Path) -> None:
    arguments = [str(small_clip), "--detector", str(weights_in(tmp_path)), "--threads", "1", "--every", "7"]
    assert redetect.run([*arguments, "--results", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "redetect.json").read_text())["rows"]
    assert [row["stored"] for row in rows] == [CLIP_FRAMES] * 3
    assert [row["with_results"] for row in rows] == [CLIP_FRAMES, CLIP_FRAMES, CLIP_FRAMES // 7]
    assert rows[0]["looked_at"] == CLIP_FRAMES
    assert all(row["times_real_time"] > 0 for row in rows)
