"""``icm-bench archive``: all kinds of questions are asked of both databases, and an archive is made in parts."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

from cloud_service.database.opening import open_database
from icm.testing.postgres import find_programs
from icm_bench.archive import search
from icm_bench.archive.search_data import TABLES, fold_again, fold_all, sqlite_archive
from icm_bench.archive.search_questions import Archive, questions
from icm_bench.archive.search_scenes import Scale, looked_again, made_segments
from tests.cloud_service.sightings.scenes import rows
from tests.debian_tools import UNPACKED, leave_out

SCALE = Scale(400, 2, 1)


def test_every_question_has_a_row_for_each_database(tmp_path: Path) -> None:
    if find_programs([UNPACKED]) is None:
        leave_out("needs PostgreSQL: make tools")
    size = ["--frames", str(SCALE.frames), "--cameras", str(SCALE.cameras), "--days", str(SCALE.days)]
    folders = ["--cache", str(tmp_path / "cache"), "--results", str(tmp_path)]
    assert search.run([*size, *folders, "--times", "1", "--rounds", "1"]) == 0
    figures = json.loads((tmp_path / "archive.json").read_text())
    assert figures["frames"] == SCALE.frames
    assert figures["detections"] > figures["frames"]
    database, _ = sqlite_archive(SCALE, tmp_path / "cache")
    asked = {*questions(Archive.of(database, SCALE)), *search.FOLLOWED}
    database.dispose()
    assert {(row["question"], row["database"]) for row in figures["rows"]} == {
        (question, kind) for question in asked for kind in ("SQLite", "PostgreSQL")
    }
    assert all(row["p95 ms"] >= row["median ms"] > 0 for row in figures["rows"])


def test_an_archive_whose_making_was_interrupted_is_the_same_in_the_end(tmp_path: Path) -> None:
    whole, parts = (open_database(f"sqlite:///{tmp_path}/{name}.db") for name in ("whole", "parts"))
    made = fold_all(whole, made_segments(SCALE), SCALE)
    fold_again(whole, looked_again(SCALE))
    fold_all(parts, islice(made_segments(SCALE), 25), SCALE)
    went_on = fold_all(parts, made_segments(SCALE), SCALE)
    fold_again(parts, islice(looked_again(SCALE), 1))
    fold_again(parts, looked_again(SCALE))
    assert went_on == made | {"folding s": None}
    for table in TABLES:
        assert rows(parts, table) == rows(whole, table), table
    whole.dispose()
    parts.dispose()
