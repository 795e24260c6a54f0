"""A stage's log: one row every so many steps, in a CSV and for TensorBoard."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from icm_train.log import TrainingLog

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_a_run_that_was_stopped_goes_on_below_its_old_rows(tmp_path: Path) -> None:
    with TrainingLog(tmp_path, "base", 0) as log:
        log.row(50, 1.5, {"bpp_0": 0.25, "loss": 3.0})
    with TrainingLog(tmp_path, "base", 50) as log:
        log.row(100, 0.5, {"bpp_0": 0.125, "loss": 2.0})
    with (tmp_path / "base.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["50", "100"]
    assert [float(row["bpp_0"]) for row in rows] == [0.25, 0.125]


def test_tensorboard_reads_the_same_numbers_with_levels_side_by_side(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with TrainingLog(tmp_path, "base", 0) as log:
        log.row(50, 1.5, {"bpp_0": 0.25, "bpp_1": 0.5, "loss": 3.0})
    events = EventAccumulator(str(tmp_path / "tensorboard/base"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"bpp/0", "bpp/1", "loss"}
    assert [(event.step, event.value) for event in events.Scalars("bpp/1")] == [(50, 0.5)]
