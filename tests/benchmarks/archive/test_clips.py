"""The benchmark of clips measures every way to make one, and what key frames cost."""

from __future__ import annotations

import json
from pathlib import Path

from icm_bench.archive.clips import run


def test_every_way_to_make_a_clip_is_measured_and_so_is_the_price_of_key_frames(
    small_clip: Path, bundle: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("icm_bench.archive.clips._SEGMENT_SECONDS", 1)
    options = ["--clip", str(small_clip), "--bundle", str(bundle), "--frames", "24", "--rounds", "1", "--threads", "1"]
    assert run([*options, "--results", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "clips.json").read_text())
    assert (told["frames"], told["seconds"], told["size"]) == (24, 2.4, "160x96")
    assert [row["clip"] for row in told["clips"]] == [
        "transcoded",
        "cut",
        "rendered",
        "rendered, cached",
        "rendered by the base decoder",
    ]
    assert all(row["times_real_time"] > 0 for row in told["clips"])
    for kind in ("source", "decoded"):
        rates = [row["kbit_per_second"] for row in told["key_frames"] if row["frames"] == kind]
        assert len(rates) == 4
        assert all(rate > 0 for rate in rates)
