"""The record store keeps every record once, through crashes, and reads them back in order."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from cloud_service.database.opening import open_database
from cloud_service.store import Position, RecordStore
from icm.codec.bitstream.record import Kind, Record, StreamHeader, parse_stream
from icm.errors import NotFoundError, RecordError, StorageError
from icm.service.clock import ManualClock
from tests.cloud_service.parts import EPOCH, FRAME_US, START_US, close_stores, header, open_store, raw, record


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def read_all(store: RecordStore, camera: str = "gate", limit: int = 3) -> list[int]:
    """Sequences in the order in which a reader meets them."""
    position = Position(0, 0)
    found: list[int] = []
    while (chunk := store.read(camera, position, limit)) is not None:
        found.extend(item.sequence for item in chunk.records)
        position = chunk.next
    return found


def append(store: RecordStore, *sequences: int, of: StreamHeader | None = None) -> list[bool]:
    of = of or header()
    return store.append(of, raw([record(sequence) for sequence in sequences], of))


def indexed(database: Engine) -> list[tuple[str, int]]:
    """Camera and number of the segments that the index takes for whole."""
    with database.connect() as connection:
        query = text("SELECT camera, number FROM record_segments WHERE state = 'whole' ORDER BY camera, number")
        return [(camera, number) for camera, number in connection.execute(query)]


def files(root: Path) -> list[Path]:
    return sorted(root.rglob("*.icm"), key=lambda path: path.name.rpartition("-")[2])


def test_a_segment_file_is_a_stream_that_any_reader_of_the_format_reads(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path, database)
    append(store, 1, 2, 3)
    (path,) = files(tmp_path)
    found, records = parse_stream(path.read_bytes())
    assert found == header()
    assert list(records) == [record(1), record(2), record(3)]


def test_segments_lie_by_camera_day_and_hour_of_their_first_frame(tmp_path: Path, database: Engine) -> None:
    append(open_store(tmp_path, database), 1)
    assert str(files(tmp_path)[0].relative_to(tmp_path)) == "gate/2026-09-21/14/20260921T141320000000Z-000001.icm"


def test_a_segment_spans_its_time_and_no_more(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path, database, segment_seconds=1.0)
    append(store, *range(1, 26))
    counts = [len(list(parse_stream(path.read_bytes())[1])) for path in files(tmp_path)]
    assert counts == [10, 10, 5]


def test_a_change_of_picture_size_starts_a_segment(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path, database)
    append(store, 1)
    append(store, 2, of=header(width=32))
    assert [parse_stream(path.read_bytes())[0].width for path in files(tmp_path)] == [64, 32]
    assert read_all(store) == [1, 2]


def test_a_clock_that_steps_back_starts_a_segment_and_keeps_the_order(tmp_path: Path, database: Engine) -> None:
    store, of = open_store(tmp_path, database), header()
    late, early = record(1, capture_us=START_US + 10 * FRAME_US), record(2, capture_us=START_US)
    store.append(of, raw([late, early], of))
    assert len(files(tmp_path)) == 2
    assert read_all(store) == [1, 2]


def test_a_silent_cameras_segment_is_sealed_when_its_time_is_up(tmp_path: Path, database: Engine) -> None:
    clock = ManualClock()
    store = open_store(tmp_path, database, segment_seconds=1.0, clock=clock)
    append(store, 1)
    position = store.read("gate", Position(0, 0), 9).next  # type: ignore[union-attr]
    assert store.read("gate", position, 9) is None
    clock.advance(1.0)
    assert store.seal_aged()
    chunk = store.read("gate", position, 9)
    assert chunk is not None
    assert (chunk.records, chunk.ended, chunk.next) == ([], True, Position(2, 0))


@given(st.lists(st.lists(st.integers(1, 40), max_size=12), max_size=8), st.integers(0, 8))
@settings(max_examples=40, deadline=None)
def test_each_record_is_stored_once_whatever_the_order_and_the_restarts(
    batches: list[list[int]], restart_after: int
) -> None:
    with TemporaryDirectory() as folder:
        root, database = Path(folder), open_database(f"sqlite:///{folder}/cloud.db")
        store, seen = open_store(root, database), set[int]()
        for index, batch in enumerate(batches):
            if index == restart_after:
                store.close()
                store = open_store(root, database)
            expected = [sequence not in seen and sequence not in batch[:place] for place, sequence in enumerate(batch)]
            assert append(store, *batch) == expected
            seen.update(batch)
        found = read_all(store)
        assert len(found) == len(seen)
        assert set(found) == seen
        close_stores(database)  # else its index may be written while the folder is removed


@given(st.integers(1, 14), st.data())
@settings(max_examples=60, deadline=None)
def test_any_cut_of_the_newest_file_leaves_whole_records_and_a_store_that_takes_more(
    count: int, data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        root, database = Path(folder), open_database(f"sqlite:///{folder}/cloud.db")
        append(open_store(root, database), *range(1, count + 1))  # and then the process is killed
        newest = files(root)[-1]
        whole = newest.read_bytes()
        cut = data.draw(st.integers(0, len(whole) - 1))
        newest.write_bytes(whole[:cut])

        store = open_store(root, database)
        survivors = read_all(store)
        assert survivors == list(range(1, len(survivors) + 1))
        assert len(survivors) >= (count - 1) // 10 * 10
        missing = range(len(survivors) + 1, count + 3)
        assert append(store, *range(1, count + 3)) == [sequence in missing for sequence in range(1, count + 3)]
        assert read_all(store) == list(range(1, count + 3))
        close_stores(database)


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_garbage_after_the_last_record_is_cut_off_and_kept_beside_it(garbage: bytes) -> None:
    with TemporaryDirectory() as folder:
        root, database = Path(folder), open_database(f"sqlite:///{folder}/cloud.db")
        append(open_store(root, database), 1, 2)
        with files(root)[-1].open("ab") as file:
            file.write(garbage)
        store = open_store(root, database)
        assert b"".join(path.read_bytes() for path in root.rglob("*.damaged")) == garbage
        assert read_all(store) == [1, 2]
        assert append(store, 2, 3) == [False, True]
        close_stores(database)


def test_records_are_persisted_while_the_index_cannot_be_written(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path / "records", database)
    with database.connect() as other:
        # Whoever wants to write to the database now waits.
        sqlite = database.dialect.name == "sqlite"
        other.execute(text("BEGIN IMMEDIATE" if sqlite else "LOCK TABLE record_segments"))
        for camera in range(20):
            of = header(f"camera-{camera}")
            assert append(store, 1, 11, of=of) == [True, True]
        other.rollback()
    store.close()
    assert len(indexed(database)) == 40


def test_the_index_may_be_lost(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path, database)
    append(store, *range(1, 26))
    store.close()
    with database.begin() as connection:
        connection.execute(text("DELETE FROM record_segments"))
    again = open_store(tmp_path, database)
    assert again.cameras() == store.cameras()
    assert append(again, 25, 26) == [False, True]


def test_a_sealed_segment_is_not_read_again_at_a_start_but_for_the_newest(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path, database)
    append(store, *range(1, 16))
    store.close()
    for path in files(tmp_path):
        path.write_bytes(bytes(path.stat().st_size))
    again = open_store(tmp_path, database)
    assert again.holds("gate", EPOCH, 3)
    assert not again.holds("gate", EPOCH, 13)


def test_the_number_of_a_segment_that_was_deleted_does_not_come_back(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path, database)
    append(store, *range(1, 13))
    store.close()
    files(tmp_path)[-1].unlink()
    again = open_store(tmp_path, database)
    append(again, 13)
    assert files(tmp_path)[-1].name.endswith("-000003.icm")
    assert read_all(again) == [*range(1, 11), 13]


def test_epochs_and_cameras_number_their_records_apart(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path, database)
    assert append(store, 1, of=header(epoch=1)) == [True]
    assert append(store, 1, of=header(epoch=2)) == [True]
    assert append(store, 1, of=header("yard", epoch=1)) == [True]


def test_an_edge_resumes_after_the_unbroken_run_that_follows_what_it_saw_acknowledged(
    tmp_path: Path, database: Engine
) -> None:
    store = open_store(tmp_path, database)
    append(store, 1, 2, 3, 6, 7)
    assert [store.resume_after("gate", EPOCH, after) for after in (0, 2, 3, 4, 5, 9)] == [3, 3, 3, 4, 7, 9]
    assert store.resume_after("gate", EPOCH + 1, 5) == 5


def test_a_summary_tells_records_bytes_and_times(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path, database)
    append(store, *range(1, 13))
    (summary,) = store.cameras()
    assert (summary.camera, summary.records) == ("gate", 12)
    assert (
        summary.bytes
        == sum(path.stat().st_size for path in files(tmp_path))
        == store.bytes_after("gate", Position(0, 0))
    )
    assert (summary.first_capture_us, summary.last_capture_us) == (START_US, START_US + 11 * FRAME_US)


def test_a_reader_can_be_told_where_to_stop(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path, database)
    append(store, *range(1, 6))
    middle = store.read("gate", Position(0, 0), 2)
    assert middle is not None
    chunk = store.read("gate", Position(0, 0), 9, until=middle.next)
    assert chunk is not None
    assert [item.sequence for item in chunk.records] == [1, 2]
    assert store.read("gate", chunk.next, 9, until=middle.next) is None


def test_a_record_larger_than_one_read_comes_back_whole(tmp_path: Path, database: Engine) -> None:
    store, of = open_store(tmp_path, database), header()
    large = record(1, payload=bytes(3_000_000))
    store.append(of, raw([large, record(2)], of))
    assert read_all(store) == [1, 2]


def test_a_frame_is_found_with_the_records_it_leans_on(tmp_path: Path, database: Engine) -> None:
    store, of = open_store(tmp_path, database), header()
    chain = [
        Record(sequence, START_US + sequence, kind, int(kind), 48, 1, b"")
        for sequence, kind in ((1, Kind.I), (2, Kind.P), (3, Kind.I), (4, Kind.P), (5, Kind.P))
    ]
    store.append(of, raw(chain, of))
    assert store.find("gate", EPOCH, 5) == (of, chain[2:], {})
    assert store.find("gate", EPOCH, 3) == (of, [chain[2]], {})


def test_a_frame_that_is_not_there_is_said_not_to_be(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path, database)
    append(store, 1)
    for camera, epoch, sequence in (("gate", EPOCH, 2), ("gate", EPOCH + 1, 1), ("yard", EPOCH, 1)):
        with pytest.raises(NotFoundError, match=camera):
            store.find(camera, epoch, sequence)


def test_damage_in_the_middle_ends_its_segment_and_no_other(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path, database)
    append(store, *range(1, 26))
    path = files(tmp_path)[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    found = read_all(store)
    assert found[:10] == list(range(1, 11))
    assert found[-5:] == list(range(21, 26))
    assert 11 <= found[-6] < 20


def test_a_segment_without_a_header_or_a_file_is_reported_to_its_reader(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path, database)
    append(store, *range(1, 13))
    first, second = files(tmp_path)
    first.write_bytes(bytes(first.stat().st_size))
    second.unlink()
    with pytest.raises(RecordError):
        store.read("gate", Position(1, 0), 9)
    with pytest.raises(NotFoundError):
        store.read("gate", Position(2, 0), 9)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, database: Engine) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="file"):
        open_store(tmp_path / "file", database)
