"""``icm-bench index`` and ``icm-bench events``, as small as they go."""

from __future__ import annotations

import json
from pathlib import Path

from icm_bench.cli import main


def test_a_start_is_measured_on_a_store_of_as_many_segments_as_were_asked_for(tmp_path: Path) -> None:
    small = ["--base", "20", "--segments", "200", "--cameras", "2"]
    assert main(["index", *small, "--folder", str(tmp_path), "--results", str(tmp_path)]) == 0
    figures = json.loads((tmp_path / "index.json").read_text())
    assert [row["segments"] for row in figures["rows"]] == [20, 200]
    assert all(row["peak MB"] >= row["imports MB"] > 0 for row in figures["rows"])
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"], "the stores are removed"


def test_both_ways_of_committing_events_are_measured_on_each_database(tmp_path: Path) -> None:
    small = ["--frames", "64", "--batch", "16", "--rounds", "1"]
    assert main(["events", *small, "--results", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "events.json").read_text())["rows"]
    assert {row["database"] for row in rows} <= {"SQLite", "PostgreSQL"}
    assert [row["frames with detections"] for row in rows if row["database"] == "SQLite"] == ["all", "half", "none"]
    assert all(row["in bulk, frames/s"] > 0 and row["row by row, frames/s"] > 0 for row in rows)
