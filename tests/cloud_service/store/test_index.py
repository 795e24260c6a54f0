"""Segments are found by asking the index: whatever it knows already, however many there are, and while it refuses."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, event, text

from cloud_service.camera_series import CameraNames
from cloud_service.database.opening import open_database
from cloud_service.gauges import StorageGauges
from cloud_service.store import Position, RecordStore, Segment
from cloud_service.store.index import SegmentIndex
from icm.errors import NotFoundError, StorageError
from tests.cloud_service.parts import EPOCH, FRAME_US, START_US, header, open_store
from tests.cloud_service.store.test_store import append, files, indexed, read_all

COUNT = 150
"""Segments of a store, more than are read from the index together; each holds one record."""


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def opened(root: Path, database: Engine) -> RecordStore:
    return open_store(root, database, segment_seconds=FRAME_US / 1e6)


def filled(root: Path, database: Engine) -> RecordStore:
    store = opened(root, database)
    append(store, *range(1, COUNT + 1))
    return store


def rename(database: Engine, old: str, new: str) -> None:
    with database.begin() as connection:
        connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


def check(store: RecordStore, root: Path) -> None:
    """All questions about the log, each answered as the files do."""
    sizes = [path.stat().st_size for path in files(root)]
    assert read_all(store) == list(range(1, COUNT + 1))
    # Two readers by turns, far apart.
    for number in range(1, COUNT // 2):
        for at in (number, number + COUNT // 2):
            assert [of.sequence for of in store.read("gate", Position(at, 0), 9).records] == [at]  # type: ignore[union-attr]
    for number in (1, 31, 32, 33, 64, 65, COUNT - 1, COUNT):
        assert store.find("gate", EPOCH, number).records[-1].sequence == number
        assert store.decodable_from("gate", number) == number
        assert store.bytes_after("gate", Position(number, 0)) == sum(sizes[number - 1 :])
        assert store.bytes_after("gate", Position(number, 9)) == sum(sizes[number - 1 :]) - 9
    assert store.bytes_after("gate", Position(1, 0)) == sum(sizes)
    assert store.segment("gate", COUNT + 1) is None
    (camera,) = store.cameras()
    assert (camera.records, camera.bytes) == (COUNT, sum(sizes))
    assert (camera.first_capture_us, camera.last_capture_us) == (START_US, START_US + (COUNT - 1) * FRAME_US)


def test_every_segment_is_found_while_the_index_is_written_afterwards_and_after_a_restart(
    tmp_path: Path, database: Engine
) -> None:
    store = filled(tmp_path, database)
    check(store, tmp_path)
    store.close()
    check(store, tmp_path)
    check(opened(tmp_path, database), tmp_path)


def test_a_store_keeps_no_segments_in_memory_but_a_page_of_each_camera(tmp_path: Path, database: Engine) -> None:
    filled(tmp_path, database).close()
    gc.collect()
    before = sum(type(thing) is Segment for thing in gc.get_objects())
    store = opened(tmp_path, database)
    gc.collect()
    assert sum(type(thing) is Segment for thing in gc.get_objects()) - before <= 2
    read_all(store)
    gc.collect()
    assert sum(type(thing) is Segment for thing in gc.get_objects()) - before < COUNT / 3


def test_a_segment_whose_file_is_gone_is_not_held_until_its_file_is_back(tmp_path: Path, database: Engine) -> None:
    filled(tmp_path, database).close()
    path = files(tmp_path)[40]
    aside = path.rename(tmp_path / "elsewhere")
    for _ in range(2):
        store = opened(tmp_path, database)
        assert not store.holds("gate", EPOCH, 41)
        with pytest.raises(NotFoundError):
            store.find("gate", EPOCH, 41)
        assert read_all(store) == [*range(1, 41), *range(42, COUNT + 1)]
        assert store.cameras()[0].records == COUNT - 1
        assert store.bytes_after("gate", Position(1, 0)) == store.cameras()[0].bytes
        assert store.decodable_from("gate", 41) == 40
        store.close()
    aside.rename(path)
    check(opened(tmp_path, database), tmp_path)
    assert len(indexed(database)) == COUNT


def test_a_damaged_segments_whole_records_are_found_and_its_file_is_read_again_at_each_start(
    tmp_path: Path, database: Engine
) -> None:
    store = open_store(tmp_path, database)
    append(store, *range(1, 26))
    store.close()
    path = files(tmp_path)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + b"\xff" + whole[len(whole) // 2 + 1 :])
    with database.begin() as connection:
        connection.execute(text("DELETE FROM record_segments"))
    for _ in range(2):
        store = open_store(tmp_path, database)
        assert store.unreadable["gate"]
        assert store.find("gate", EPOCH, 2).records[-1].sequence == 2
        assert not store.holds("gate", EPOCH, 9)
        store.close()
        assert indexed(database) == [("gate", 2), ("gate", 3)]
    path.write_bytes(whole)
    store = open_store(tmp_path, database)
    assert not store.unreadable
    assert read_all(store) == list(range(1, 26))
    assert indexed(database) == [("gate", 1), ("gate", 2), ("gate", 3)]


def test_records_out_of_order_are_found_in_whichever_segment_they_came_in(tmp_path: Path, database: Engine) -> None:
    store = opened(tmp_path, database)
    order = [n for first in (60, 1, 30) for n in range(first, first + 30)]
    for sequence in order:
        append(store, sequence)
    append(store, 500, of=header(epoch=EPOCH + 1))
    store.close()
    for again in (store, opened(tmp_path, database)):
        assert [again.find("gate", EPOCH, n).records[-1].sequence for n in order] == order
        assert again.find("gate", EPOCH + 1, 500).records[-1].sequence == 500
        with pytest.raises(NotFoundError):
            again.find("gate", EPOCH + 1, 60)
        assert again.newest("gate", EPOCH + 1) == 500


def test_while_the_index_does_not_answer_records_are_taken_and_readers_are_told_to_wait(
    tmp_path: Path, database: Engine
) -> None:
    store = filled(tmp_path, database)
    store.close()
    store = opened(tmp_path, database)
    rename(database, "record_segments", "hidden")
    assert append(store, COUNT, COUNT + 1) == [False, True]
    assert store.holds("gate", EPOCH, 3)
    for ask in (
        lambda: store.read("gate", Position(3, 0), 9),
        lambda: store.find("gate", EPOCH, 3),
        lambda: store.decodable_from("gate", 3),
        lambda: store.bytes_after("gate", Position(3, 0)),
    ):
        with pytest.raises(StorageError, match="index of segments in the database"):
            ask()
    rename(database, "hidden", "record_segments")
    assert read_all(store) == list(range(1, COUNT + 2))
    store.close()
    assert len(indexed(database)) == COUNT + 1


def test_metrics_go_on_without_what_a_database_that_does_not_answer_would_say(tmp_path: Path, database: Engine) -> None:
    filled(tmp_path, database).close()
    store = opened(tmp_path, database)
    backlog = lambda: {"gate": store.bytes_after("gate", Position(3, 0))}  # noqa: E731
    registry = CollectorRegistry()
    registry.register(StorageGauges(store, database, backlog, CameraNames()))
    rename(database, "record_segments", "hidden")
    stored = registry.get_sample_value("icm_archive_bytes", {"camera": "gate", "tier": "records"})
    assert stored == store.cameras()[0].bytes
    assert registry.get_sample_value("icm_cloud_backlog_bytes", {"camera": "gate"}) is None
    rename(database, "hidden", "record_segments")
    assert registry.get_sample_value("icm_cloud_backlog_bytes", {"camera": "gate"}) == backlog()["gate"]


@pytest.mark.parametrize("each_database_url", ["sqlite"], indirect=True)
def test_a_database_that_takes_nothing_keeps_no_store_from_opening_and_learns_later(
    tmp_path: Path, database: Engine
) -> None:
    """Such as on a disk that is full."""
    filled(tmp_path, database).close()
    with database.begin() as connection:
        connection.execute(text("DELETE FROM record_segments WHERE number > 20"))
        connection.execute(text("UPDATE record_segments SET checksum = 0 WHERE number = 5"))
        for what in ("INSERT", "DELETE"):
            refuse = f"CREATE TRIGGER no_{what} BEFORE {what} ON record_segments BEGIN SELECT RAISE(ABORT, 'full'); END"
            connection.execute(text(refuse))
    store = opened(tmp_path, database)
    check(store, tmp_path)
    with database.begin() as connection:
        for what in ("INSERT", "DELETE"):
            connection.execute(text(f"DROP TRIGGER no_{what}"))
    store.close()
    assert len(indexed(database)) == COUNT
    check(store, tmp_path)


def test_segments_are_found_by_the_time_they_were_captured_open_ones_and_those_that_are_gone_too(
    tmp_path: Path, database: Engine
) -> None:
    store = filled(tmp_path, database)

    def found(first: float, end: float, camera: str = "gate") -> list[int]:
        """Of a stretch, whose ends are numbers of records."""
        times = (round(START_US + (number - 1) * FRAME_US) for number in (first, end))
        return [segment.number for segment in store.captured_between(camera, *times)]

    for _ in range(2):
        assert found(1, COUNT + 1) == list(range(1, COUNT + 1))
        assert found(40, 42) == [40, 41]
        assert found(40.5, 40.9) == []
        assert found(COUNT, COUNT + 9) == [COUNT]
        assert (found(-50, 1), found(COUNT + 1, COUNT + 9), found(1, 9, "yard")) == ([], [], [])
        store.close()
        files(tmp_path)[40].unlink(missing_ok=True)
        store = opened(tmp_path, database)
        assert found(40, 43) == [40, 41, 42]


def test_the_index_is_not_read_from_its_start_for_a_stretch_of_time(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'cloud.db'}")
    statements: list[str] = []
    event.listen(database, "before_cursor_execute", lambda *told: statements.append(told[2]))
    SegmentIndex(database).captured_between("gate", START_US, START_US + 1)
    with database.connect() as connection:
        (plan,) = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statements[-1]}", ("gate", 0, 1, 0)).all()
    assert "USING INDEX ix_record_segments_capture (camera=? AND first_capture_us>? AND first_capture_us<?)" in plan[-1]
    database.dispose()
