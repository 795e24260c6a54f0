"""What a start makes of segment files: nothing that was persisted is cut, whatever the index says and the disk did."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from cloud_service.database.opening import open_database
from cloud_service.store import Position, RecordStore, Segment
from cloud_service.store.index import SegmentIndex
from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.errors import RecordError, ReferenceMissingError, StoredDamageError
from tests.cloud_service.parts import EPOCH, START_US, close_stores, header, open_store, raw, record
from tests.cloud_service.store.test_store import append, files, indexed, read_all


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def filled(root: Path, database: Engine) -> list[Path]:
    """A store of 25 records, ten a segment, closed in good order."""
    store = open_store(root, database)
    append(store, *range(1, 26))
    store.close()
    return files(root)


def flip(path: Path, at: float) -> bytes:
    """Flips a bit; returns what the file held."""
    whole = path.read_bytes()
    position = int(len(whole) * at)
    path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
    return whole


def lose_index(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("DELETE FROM record_segments"))


@pytest.mark.parametrize("seen", [1, 4, 9])
def test_records_that_were_written_after_another_process_indexed_their_file_are_kept(
    tmp_path: Path, database: Engine, seen: int
) -> None:
    """A store that two processes once used, or whose index is a copy of yesterday's."""
    store = open_store(tmp_path, database)
    append(store, *range(1, seen + 1))
    (path,) = files(tmp_path)
    open_store(tmp_path, database)  # which takes the file for one that ended here
    append(store, *range(seen + 1, 11))
    before = path.read_bytes()
    again = open_store(tmp_path, database)
    assert read_all(again) == list(range(1, 11))
    assert path.read_bytes() == before
    assert append(again, 10, 11) == [False, True]


def test_damage_in_what_the_index_does_not_know_is_left_with_the_whole_records_behind_it(
    tmp_path: Path, database: Engine
) -> None:
    store = open_store(tmp_path, database)
    append(store, 1, 2)
    (path,) = files(tmp_path)
    open_store(tmp_path, database)
    append(store, *range(3, 9))
    flip(path, 0.5)
    before = path.read_bytes()
    for _ in range(2):
        again = open_store(tmp_path, database)
        assert path.read_bytes() == before
        assert read_all(again) in ([1, 2], [1, 2, 3], [1, 2, 3, 4])
        assert path.name in again.unreadable["gate"][0]


def test_what_is_held_elsewhere_is_cut_off_behind_what_the_index_knows_and_kept(
    tmp_path: Path, database: Engine
) -> None:
    """A write that failed, could not be undone, and was made again in the next segment."""
    store, of = open_store(tmp_path, database), header()
    append(store, 1, 2, 3)
    store.close()
    (path,) = files(tmp_path)
    failed = b"".join(record(sequence).pack(of) for sequence in (4, 5))
    with path.open("ab") as file:
        file.write(failed)
    again = open_store(tmp_path / "elsewhere", database)
    append(again, 4, 5)
    again.close()
    target = path.with_name(path.name.replace("-000001", "-000002"))
    files(tmp_path / "elsewhere")[0].rename(target)
    shutil.rmtree(tmp_path / "elsewhere")
    store = open_store(tmp_path, database)
    assert read_all(store) == [1, 2, 3, 4, 5]
    assert [kept.read_bytes() for kept in tmp_path.rglob("*.damaged")] == [failed]
    assert len(indexed(database)) == 2


@pytest.mark.parametrize("where", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("indexed", [True, False])
def test_a_damaged_segment_stays_as_it_is_through_any_number_of_starts(
    tmp_path: Path, database: Engine, where: float, indexed: bool
) -> None:
    """All of it but the newest: that one's end may be torn."""
    first, second, third = filled(tmp_path, database)
    if not indexed:
        lose_index(database)
        (tmp_path / "cloud.db").unlink(missing_ok=True)
    for path in (first, second):
        flip(path, where)
    before = [path.read_bytes() for path in (first, second, third)]
    for _ in range(3):
        store = open_store(tmp_path, database)
        assert [path.read_bytes() for path in (first, second, third)] == before
        assert store.holds("gate", EPOCH, 25)
        assert bool(store.unreadable) == (not indexed)
        store.close()
    assert not list(tmp_path.rglob("*.damaged"))


@pytest.mark.parametrize("where", [0.3, 0.6])
def test_damage_in_the_newest_segment_is_seen_at_the_start_so_nothing_leans_on_what_is_lost(
    tmp_path: Path, database: Engine, where: float
) -> None:
    *_, newest = filled(tmp_path, database)
    flip(newest, where)
    before = newest.read_bytes()
    for _ in range(2):
        store = open_store(tmp_path, database)
        assert store.newest("gate", EPOCH) < 25
        assert not store.holds("gate", EPOCH, 25)
        assert newest.name in store.unreadable["gate"][0]
        assert newest.read_bytes() == before
        store.close()
    # It is taken again, should the edge still have it.
    assert append(store, 25) == [True]


def test_a_file_that_became_shorter_costs_what_it_lost_and_no_more(tmp_path: Path, database: Engine) -> None:
    first, *_ = filled(tmp_path, database)
    first.write_bytes(first.read_bytes()[:-10])
    store = open_store(tmp_path, database)
    assert read_all(store) == [*range(1, 10), *range(11, 26)]
    assert append(store, 10) == [True]


@pytest.mark.parametrize("column", ["size", "records", "sequences", "epoch", "path", "first_capture_us"])
def test_a_row_of_the_index_that_lost_a_bit_is_no_row(tmp_path: Path, database: Engine, column: str) -> None:
    filled(tmp_path, database)
    longer = f"CAST({column} AS VARCHAR) || '0'"
    changes = {"sequences": "replace(sequences, '1-10', '1-30')", "path": longer}
    changed = changes.get(column, f"CAST({longer} AS BIGINT)")
    with database.begin() as connection:
        connection.execute(text(f"UPDATE record_segments SET {column} = {changed} WHERE number = 1"))
    store = open_store(tmp_path, database)
    assert read_all(store) == list(range(1, 26))
    assert append(store, 25, 26, 30) == [False, True, True]


def of_another_camera(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path / "other", database)
    append(store, *range(1, 11), of=header("yard"))
    store.close()


def of_another_epoch(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path / "other", database)
    append(store, *range(1, 11), of=header(epoch=EPOCH + 1))
    store.close()


def of_another_segment(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path / "other", database)
    append(store, *range(11, 21))
    store.close()


@pytest.mark.parametrize("make", [of_another_camera, of_another_epoch, of_another_segment])
def test_a_file_that_was_put_in_a_segments_place_is_not_taken_for_it(
    tmp_path: Path, database: Engine, make: Callable[[Path, Engine], None]
) -> None:
    root = tmp_path / "records"
    first, *_ = filled(root, database)
    make(tmp_path, open_database(f"sqlite:///{tmp_path / 'other.db'}"))
    (other,) = files(tmp_path / "other")
    assert other.stat().st_size == first.stat().st_size
    store = open_store(root, database)
    shutil.copy(other, first)
    for sequence in (1, 5, 10):
        with pytest.raises(StoredDamageError):
            store.find("gate", EPOCH, sequence)
    try:
        chunk = store.read("gate", Position(1, 0), 20)
    except RecordError:
        chunk = None
    assert chunk is None or (chunk.records == [] and chunk.damage is not None)


def test_a_file_of_another_camera_keeps_no_other_file_from_being_indexed(tmp_path: Path, database: Engine) -> None:
    _, second, _ = filled(tmp_path, database)
    store = open_store(tmp_path, database)
    append(store, *range(1, 11), of=header("yard"))
    store.close()
    shutil.copy(next(tmp_path.glob("yard/**/*.icm")), second)
    lose_index(database)
    store = open_store(tmp_path, database)
    assert read_all(store) == [*range(1, 11), *range(21, 26)]
    assert "camera yard, not of gate" in store.unreadable["gate"][0]
    assert indexed(database) == [("gate", 1), ("gate", 3), ("yard", 1)]


def test_of_two_files_with_one_number_the_first_is_taken_and_the_other_named(tmp_path: Path, database: Engine) -> None:
    first, *_ = filled(tmp_path, database)
    twin = first.with_name(first.name.replace("T14", "T15"))
    shutil.copy(first, twin)
    for _ in range(2):
        lose_index(database)
        store = open_store(tmp_path, database)
        assert read_all(store) == list(range(1, 26))
        assert twin.name in store.unreadable["gate"][0]
        assert len(indexed(database)) == 3


@pytest.mark.parametrize("place", [0, 2], ids=["the oldest", "the newest"])
def test_a_file_of_another_version_of_the_format_is_left_alone_and_told(
    tmp_path: Path, database: Engine, place: int
) -> None:
    path = filled(tmp_path, database)[place]
    old = path.read_bytes()[:4] + b"\x01" + path.read_bytes()[5:]
    path.write_bytes(old)
    lose_index(database)
    for _ in range(2):
        store = open_store(tmp_path, database)
        assert path.read_bytes() == old
        assert "format version 1" in store.unreadable["gate"][0]
        assert len(read_all(store)) in (15, 20)


def test_a_number_that_only_the_database_still_knows_does_not_come_back(tmp_path: Path, database: Engine) -> None:
    """Records of yesterday beside today's database: its cursors say that they looked at segments of these numbers."""
    filled(tmp_path, database)
    with database.begin() as connection:
        connection.execute(text("INSERT INTO progress VALUES ('gate', 7, 500, 7)"))
    store = open_store(tmp_path, database)
    append(store, 26)
    assert files(tmp_path)[-1].name.endswith("-000008.icm")


def test_asking_for_a_frame_ends_whatever_order_its_file_has_and_gives_a_chain_or_an_error(
    tmp_path: Path, database: Engine
) -> None:
    """Records that lean on the one before, on others or on none, in any order; each time a camera of its own. One whose
    references lead to an I record is given with all of these; another refers to what is not there.
    """
    store, cameras = open_store(tmp_path, database), count(1)

    @given(st.permutations(range(6)), st.lists(st.sampled_from([0, 1, 1, 1, 2, 3]), min_size=6, max_size=6))
    @settings(max_examples=60, deadline=None)
    def ends(order: list[int], references: list[int]) -> None:
        of = header(f"camera-{next(cameras)}")
        records = [
            Record(n, START_US + n, Kind.P if back else Kind.I, back, 48, 1, b"")
            for n, back in enumerate(references, 5)
        ]
        store.append(of, raw(records, of))
        (path,) = (tmp_path / of.camera).rglob("*.icm")
        path.write_bytes(of.pack() + b"".join(records[place].pack(of) for place in order))
        by_sequence = {record.sequence: record for record in records}
        for wanted in records:
            needed = [wanted]
            while needed[0].kind is Kind.P and (before := needed[0].sequence - needed[0].reference) in by_sequence:
                needed.insert(0, by_sequence[before])
            if needed[0].kind is Kind.I:
                assert store.find(of.camera, EPOCH, wanted.sequence).records == needed
            else:
                with pytest.raises(ReferenceMissingError):
                    store.find(of.camera, EPOCH, wanted.sequence)

    ends()


@given(st.binary(min_size=1, max_size=120), st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_whatever_lies_in_a_file_a_start_takes_the_others_and_keeps_every_byte(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, seed: int
) -> None:
    root, dice = tmp_path_factory.mktemp("store"), random.Random(seed)
    database = open_database(f"sqlite:///{root}/cloud.db")
    paths = filled(root, database)
    place = dice.randrange(3)
    content = bytearray(paths[place].read_bytes())
    start = dice.randrange(len(content))
    content[start : start + dice.randrange(2) * len(noise)] = noise
    paths[place].write_bytes(content)
    if dice.randrange(2):
        lose_index(database)
    for _ in range(2):
        store = open_store(root, database)
        others = [range(1, 11), range(11, 21), range(21, 26)]
        assert all(store.holds("gate", EPOCH, n) for other, held in enumerate(others) if other != place for n in held)
        kept = b"".join(path.read_bytes() for path in sorted(root.rglob(f"{paths[place].name}*")))
        assert len(kept) == len(content)
        assert sorted(kept) == sorted(content)
        store.close()
    close_stores(database)


def test_a_store_that_is_this_processs_no_more_takes_nothing(tmp_path: Path, database: Engine) -> None:
    def taken() -> None:
        raise StoredDamageError("somebody else has it")

    store = RecordStore(tmp_path, SegmentIndex(database), 1.0, open_store(tmp_path, database)._clock, taken)
    with pytest.raises(StoredDamageError, match="somebody else"):
        append(store, 1)
    with pytest.raises(StoredDamageError, match="somebody else"):
        store.keyframes.write(Segment("gate", 1, EPOCH, "gate/1.icm", 0), header(), record(1))
    assert not list(tmp_path.rglob("gate"))


def test_a_header_alone_is_no_segment(tmp_path: Path, database: Engine) -> None:
    folder = tmp_path / "gate"
    folder.mkdir()
    of: StreamHeader = header()
    path = folder / "20260921T141320000000Z-000001.icm"
    path.write_bytes(of.pack())
    store = open_store(tmp_path, database)
    assert store.names() == []
    assert [kept.read_bytes() for kept in folder.glob("*.damaged")] == [of.pack()]
