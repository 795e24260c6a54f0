"""Segments are folded as the detector gets done with them, and those of an older database too."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from cloud_service.database.sightings_tables import BoxesRow, FoldingRow, RecordActivityRow
from cloud_service.database.tables import FrameRow
from cloud_service.detection import Detection
from cloud_service.events.store import EventStore, FrameEvent
from cloud_service.sightings.background import BackgroundFolding
from cloud_service.store import Position, RecordStore
from icm.frame_id import FrameId
from icm.service.health import Problems
from tests.cloud_service.parts import EPOCH, FRAME_US, HEIGHT, START_US, WIDTH, header, open_store
from tests.cloud_service.sightings.scenes import everything, rows
from tests.cloud_service.store.test_store import append, files


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def store(tmp_path: Path, database: Engine) -> RecordStore:
    """Of a camera of 10 fps and segments of a second."""
    return open_store(tmp_path / "records", database)


def detect(database: Engine, last: int, cursor: Position | None) -> EventStore:
    """Something is in each of the first ``last`` frames; the detector's cursor moves."""
    found = (Detection("dog", 0.5, 1, 2, 30, 40),)
    events = EventStore(database)
    made = [
        FrameEvent(FrameId("gate", EPOCH, sequence), START_US + (sequence - 1) * FRAME_US, "tiny", found)
        for sequence in range(1, last + 1)
    ]
    events.commit(made, (), {"gate": cursor} if cursor else {})
    return events


def folding(store: RecordStore, database: Engine, problems: Problems | None = None) -> BackgroundFolding:
    return BackgroundFolding(store=store, database=database, problems=problems or Problems())


def work_off(background: BackgroundFolding) -> int:
    """Rounds until nothing is left to fold."""
    rounds = 0
    while background.fold_round():
        rounds += 1
    return rounds


def test_only_segments_that_the_detector_is_done_with_are_folded(store: RecordStore, database: Engine) -> None:
    append(store, *range(1, 26))
    events = detect(database, 22, Position(3, 100))
    work_off(folding(store, database))
    assert rows(database, BoxesRow, "number", "frames", "width", "height") == [
        (1, 10, WIDTH, HEIGHT), (2, 10, WIDTH, HEIGHT),
    ]  # fmt: skip
    assert sorted(row[0] for row in rows(database, FrameRow, "sequence")) == [21, 22]
    assert [of.key.sequence for of in events.search(limit=100)] == list(range(22, 0, -1))
    assert work_off(folding(store, database)) == 0


def test_a_segment_that_the_index_does_not_know_yet_is_folded_all_the_same(
    tmp_path: Path, store: RecordStore, database: Engine
) -> None:
    append(store, *range(1, 26))
    store.close()
    with database.begin() as connection:
        connection.execute(text("DELETE FROM record_segments"))
    again = open_store(tmp_path / "records", database)
    detect(database, 20, Position(3, 0))
    work_off(folding(again, database))
    assert [row[0] for row in rows(database, BoxesRow, "number")] == [1, 2]


def test_a_database_from_before_is_folded_from_its_first_segment_on_also_where_files_are_gone(
    tmp_path: Path, store: RecordStore, database: Engine
) -> None:
    append(store, *range(1, 46))
    store.close()
    first, second, *_ = files(tmp_path / "records")
    first.unlink()
    second.unlink()
    events = detect(database, 40, Position(5, 0))
    again = open_store(tmp_path / "records", database)
    assert work_off(folding(again, database)) >= 4
    assert rows(database, BoxesRow, "number", "width", "height") == [
        (1, 30, 40), (2, 30, 40), (3, WIDTH, HEIGHT), (4, WIDTH, HEIGHT),
    ]  # fmt: skip
    assert rows(database, FrameRow) == []
    assert [of.key.sequence for of in events.search(limit=100)] == list(range(40, 0, -1))
    size = sum(path.stat().st_size for path in files(tmp_path / "records")[:2])
    assert sum(row[1] for row in rows(database, RecordActivityRow, "seconds", "bytes") if row[0] == 60) == size


def test_events_of_no_segment_stay_where_they_are_and_are_read(store: RecordStore, database: Engine) -> None:
    events = detect(database, 5, Position(3, 0))
    work_off(folding(store, database))
    assert rows(database, FoldingRow) == [("gate", 3)]
    assert [of.key.sequence for of in events.search()] == [5, 4, 3, 2, 1]


def test_a_restart_goes_on_where_the_last_run_stopped(store: RecordStore, database: Engine) -> None:
    append(store, *range(1, 46))
    detect(database, 40, Position(5, 0))
    assert folding(store, database).fold_round()
    assert rows(database, FoldingRow) == [("gate", 2)]
    background = folding(store, database)
    background.stop()
    assert not background.fold_round(), "who was stopped folds no more"
    work_off(folding(store, database))
    whole = everything(database)
    assert len(whole["boxes"]) == 4
    assert not whole["frames"]


def test_a_damaged_row_is_told_and_holds_up_no_other_camera(store: RecordStore, database: Engine) -> None:
    append(store, *range(1, 26))
    append(store, *range(1, 26), of=header("yard"))
    store.close()
    detect(database, 20, Position(3, 0))
    EventStore(database).commit((), (), {"yard": Position(3, 0)})
    with database.begin() as connection:
        connection.execute(text("UPDATE record_segments SET size = size + 1 WHERE camera = 'yard' AND number = 1"))
    problems = Problems()
    work_off(folding(store, database, problems))
    assert [row[0] for row in rows(database, BoxesRow, "camera")] == ["gate", "gate"]
    (told,) = problems.lines()
    assert told.startswith("sightings of yard: the row of segment 1 of camera 'yard' in the index is damaged")
