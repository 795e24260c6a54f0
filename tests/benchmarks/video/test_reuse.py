"""``icm-bench reuse``: which stretches are quiet, what a place looks like without anybody, and that it all runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from icm_bench.video import reuse
from icm_bench.video.reuse import quietest
from icm_bench.video.scenes import emptied
from tests.clips import write_clip


def test_the_quietest_windows_are_those_in_which_the_least_changes() -> None:
    changed = [1.0, 0.1, 0.0, 0.1, 0.5, 0.0, 0.0, 0.2, 0.0, 0.1, 0.1]
    assert quietest(changed, 0.4, 2) == [2, 3, 8, 9]
    assert quietest(changed, 0.1, 2) == [2, 3]
    assert quietest(changed, 1.0, 5) == list(range(10))
    assert quietest(changed, 0.5, 12) == []


def test_an_emptied_place_has_nobody_in_it_and_the_clips_noise() -> None:
    random = np.random.default_rng(1)
    pictures = []
    for number in range(40):
        picture = 100 + 3 * random.standard_normal((64, 160, 3))
        picture[20:40, 3 * number : 3 * number + 16] = 255
        pictures.append(np.rint(picture).astype(np.uint8))
    empty = emptied(pictures)
    assert len(empty) == 40
    assert max(int(picture.max()) for picture in empty) < 130
    assert 1.5 < float(np.std(np.stack(empty), axis=0).mean()) < 4.5


def test_a_clip_is_measured_both_ways(tmp_path: Path, weights: Path, bundle: Path) -> None:
    random = np.random.default_rng(1)
    still = random.integers(60, 160, (96, 160, 3)).astype(np.uint8)
    moving = [np.roll(still, 8 * number, axis=1) for number in range(10)]
    write_clip(tmp_path / "walk.mkv", [*moving, *[moving[-1]] * 12])
    arguments = [str(tmp_path / "walk.mkv"), "--qualities", "3", "--quietest", "0.5", "--detector", str(weights)]
    arguments += ["--bundle", str(bundle), "--threads", "1", "--scratch", str(tmp_path)]
    assert reuse.run([*arguments, "--results", str(tmp_path)]) == 0
    rows = {(row["part"], row["video"]): row for row in json.loads((tmp_path / "reuse.json").read_text())["rows"]}
    assert set(rows) == {(part, video) for part in ("all", "quietest 50%") for video in (False, True)}
    assert rows["all", True]["frames"] == 22
    assert rows["quietest 50%", True]["frames"] == 10
    for video in (False, True):
        assert rows["quietest 50%", video]["looked_at"] < rows["all", video]["looked_at"] < 1
        assert (rows["all", video]["archive ms, reused"] > 0) == video
