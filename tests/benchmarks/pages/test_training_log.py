"""``icm-bench training-log``: the curves of a stage from its CSV log."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from icm_bench.cli import main
from icm_bench.pages.training_log import POINTS, read, thinned

LOG = """step,seconds,bpp_0,bpp_1,loss
50,10,0.5,1.0,3
100,20,0.4,0.9,2
150,30,0.3,0.8,1
100,12,0.2,0.7,5
150,24,0.1,0.6,4
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "base.csv"
    path.write_text(LOG)
    return path


def test_levels_share_a_panel_and_a_step_that_ran_twice_counts_as_it_ran_last(log: Path) -> None:
    stage = read(log)
    assert stage["panels"] == {
        "bpp": {"0": ([50, 100, 150], [0.5, 0.2, 0.1]), "1": ([50, 100, 150], [1.0, 0.7, 0.6])},
        "loss": {"": ([50, 100, 150], [3, 5, 4])},
    }
    assert (stage["stage"], stage["steps"]) == ("base", 150)
    assert stage["last"] == {"bpp_0": 0.1, "bpp_1": 0.6, "loss": 4}


def test_the_time_of_a_run_that_was_taken_up_again_is_added(log: Path) -> None:
    assert read(log)["hours"] == round((30 + 24) / 3600, 2)


def test_a_long_curve_is_thinned_to_means_of_neighbours() -> None:
    steps, values = thinned(np.arange(10.0 * POINTS), np.arange(10.0 * POINTS) % 10)
    assert len(steps) == POINTS
    assert values == [4.5] * POINTS


def test_the_command_draws_each_log_and_writes_where_it_ended(log: Path, tmp_path: Path) -> None:
    assert main(["training-log", str(log), "--results", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "training_log.json").read_text())["stages"][0]["bpp_1"] == 0.6
    assert (tmp_path / "training_log_base.png").stat().st_size > 5_000


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "step,seconds\nfifty,1\n"])
def test_a_file_that_is_no_log_is_named(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.csv"
    path.write_text(content)
    assert main(["training-log", str(path), "--results", str(tmp_path)]) == 1
    assert str(path) in capsys.readouterr().err
