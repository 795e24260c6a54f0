"""The random search over what people bring: it finds nothing wrong, and what is wrong it would find."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icm_bench.inputs import commands, inputs, pictures, verdict, videos
from icm_bench.inputs.cases import Case
from icm_bench.inputs.judges import Ffmpeg
from tests.debian_tools import may_leave_out, path_of

pytestmark = pytest.mark.skipif(path_of("ffmpeg") is None and may_leave_out(), reason="needs Debian's ffmpeg")


def test_a_few_files_of_each_kind_are_read_as_pillow_and_ffmpeg_show_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inputs.run(["--share", "0.02", "--seed", "3", "--results", str(tmp_path)]) == 0, capsys.readouterr().out
    rows = json.loads((tmp_path / "inputs.json").read_text())["kinds"]
    assert len(rows) == 13
    assert all(row["cases"] >= 1 for row in rows)
    assert sum(row["wrong"] for row in rows) == 0


def test_a_picture_that_is_not_the_right_one_is_found(tmp_path: Path) -> None:
    case = next(pictures.turned(random.Random(1), tmp_path, 1))
    assert verdict.fault(case, Ffmpeg()) is None
    right = np.asarray(Image.open(case.path).convert("RGB"))
    for wrong, word in ((right[::-1], "is off by"), (right[:, :-9], "instead of")):
        assert word in (verdict.fault(replace(case, truth=wrong), Ffmpeg()) or "")


def test_frames_that_are_gone_without_a_word_are_found(tmp_path: Path) -> None:
    path = videos.write(tmp_path / "a.mkv", videos.scenes(random.Random(1), 5))
    assert verdict.fault(Case("", "", path, "ffmpeg", whole=5), Ffmpeg()) is None
    assert "5 of 6 pictures and not a word" in (verdict.fault(Case("", "", path, "ffmpeg", whole=6), Ffmpeg()) or "")


def test_times_that_are_not_the_judges_are_found() -> None:
    judged = [0.0, 0.1, 0.2, 0.5]
    assert verdict.same_times(judged, judged)
    assert not verdict.same_times(judged, [0.0, 0.1, 0.2, 0.3])
    assert not verdict.same_times(judged, [0.0, 0.2, 0.1, 0.5])


def test_a_command_that_ends_otherwise_or_leaves_something_out_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    run = commands.Run("", ["info", "none"], tmp_path / "a", (2,))
    assert commands.fault(run) is None
    assert "status 2 instead of (0,)" in (commands.fault(replace(run, statuses=(0,))) or "")
    assert "not made" in (commands.fault(replace(run, made=("out.icm",))) or "")
