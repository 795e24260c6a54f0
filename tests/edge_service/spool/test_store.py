from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_service.spool.folder import FILE_NAME
from edge_service.spool.high_water_marks import MARKS_NAME
from edge_service.spool.store import Spool
from icm.codec.bitstream.record import StreamHeader
from icm.errors import SpoolError, SpoolFullError
from icm.service.clock import ManualClock
from tests.edge_service.parts import OTHER_CODEC_ID, header_of, spool_records


@contextmanager
def opened(folder: Path, clock: ManualClock, max_bytes: int = 1_000_000) -> Iterator[Spool]:
    spool = Spool(folder, max_bytes, 3600.0, clock)
    try:
        yield spool
    finally:
        spool.close()


def sequences(spool: Spool, camera: str = "gate") -> list[int]:
    found: list[int] = []
    while batch := spool.camera(camera).read(found[-1] if found else 0, 1000, 1 << 20):
        found += [sequence for sequence, _ in batch.records]
    return found


def test_numbers_records_from_one_and_gives_back_their_bytes(spool: Spool) -> None:
    gate = spool.camera("gate")
    gate.append(1, header_of(gate).pack(), b"first")
    gate.append(2, None, b"second")
    batch = gate.read(0, 10, 1000)
    assert batch is not None
    assert StreamHeader.parse(batch.header)[0] == header_of(gate)
    assert batch.records == [(1, b"first"), (2, b"second")]
    assert gate.next_sequence == 3


def test_reads_from_a_sequence_on(spool: Spool) -> None:
    gate = spool.camera("gate")
    spool_records(gate, 5)
    batch = gate.read(3, 10, 1000)
    assert batch is not None
    assert [sequence for sequence, _ in batch.records] == [4, 5]
    assert gate.read(5, 10, 1000) is None


def test_a_batch_is_bounded_in_records_and_bytes_but_never_empty(spool: Spool) -> None:
    gate = spool.camera("gate")
    gate.append(1, header_of(gate).pack(), bytes(100))
    gate.append(2, None, bytes(10))
    gate.append(3, None, bytes(10))
    sizes = [len(batch.records) for batch in (gate.read(0, 10, 50), gate.read(1, 10, 50), gate.read(1, 1, 50)) if batch]
    assert sizes == [1, 2, 1]


def test_a_batch_ends_where_the_header_changes(spool: Spool) -> None:
    gate = spool.camera("gate")
    spool_records(gate, 2, width=64)
    spool_records(gate, 2, width=128)
    first, second = gate.read(0, 10, 1000), gate.read(2, 10, 1000)
    assert first is not None
    assert second is not None
    assert [s for s, _ in first.records] == [1, 2]
    assert [s for s, _ in second.records] == [3, 4]
    assert StreamHeader.parse(second.header)[0].width == 128


def test_a_header_stays_while_records_under_it_wait(spool: Spool) -> None:
    gate = spool.camera("gate")
    spool_records(gate, 3, codec_id=OTHER_CODEC_ID)
    spool_records(gate, 1)
    gate.persisted(1, 2)
    batch = gate.read(0, 10, 1000)
    assert batch is not None
    assert StreamHeader.parse(batch.header)[0].codec_id == OTHER_CODEC_ID
    gate.persisted(3, 4)
    gate.append(5, None, b"under the newest header still")
    batch = gate.read(0, 10, 1000)
    assert batch is not None
    assert StreamHeader.parse(batch.header)[0] == header_of(gate)


def test_cameras_have_their_own_sequences(spool: Spool) -> None:
    spool_records(spool.camera("gate"), 3)
    spool_records(spool.camera("yard"), 1)
    spool.camera("gate").persisted(1, 3)
    assert sequences(spool, "gate") == []
    assert sequences(spool, "yard") == [1]
    assert spool.waiting_cameras() == ["yard"]


def test_everyone_who_asks_for_a_camera_sees_the_same_next_sequence(spool: Spool) -> None:
    spool_records(spool.camera("gate"), 3)
    assert spool.camera("gate").next_sequence == 4


def test_only_persisted_records_raise_last_persisted(spool: Spool) -> None:
    gate = spool.camera("gate")
    spool_records(gate, 6)
    gate.persisted(1, 3)
    gate.rejected(4, 5)
    assert gate.last_persisted() == 3
    assert sequences(spool) == [6]


def test_last_persisted_never_speaks_for_a_record_that_still_waits(spool: Spool) -> None:
    gate = spool.camera("gate")
    spool_records(gate, 6)
    gate.persisted(4, 6)
    assert gate.last_persisted() == 0
    gate.persisted(1, 2)
    assert gate.last_persisted() == 2
    gate.persisted(3, 3)
    assert gate.last_persisted() == 6


def test_refuses_a_sequence_out_of_turn(spool: Spool) -> None:
    gate = spool.camera("gate")
    with pytest.raises(ValueError, match="the next is 1"):
        gate.append(2, b"", b"")


def test_is_full_at_its_bound_in_bytes_and_has_room_again_once_records_are_persisted(
    tmp_path: Path, clock: ManualClock
) -> None:
    with opened(tmp_path, clock, max_bytes=100) as spool:
        gate = spool.camera("gate")
        gate.append(1, header_of(gate).pack(), bytes(60))
        with pytest.raises(SpoolFullError, match="holds 60 of 100 bytes"):
            gate.append(2, None, bytes(41))
        gate.append(2, None, bytes(40))
        assert spool.bytes == 100
        gate.persisted(1, 1)
        assert spool.bytes == 40
        gate.append(3, None, bytes(60))


def test_is_full_when_its_oldest_record_is_too_old(spool: Spool, clock: ManualClock) -> None:
    gate = spool.camera("gate")
    spool_records(gate, 1)
    clock.advance(3599)
    spool_records(gate, 1)
    assert spool.oldest_seconds() == 3599
    clock.advance(2)
    with pytest.raises(SpoolFullError, match="waited 3601 of at most 3600 s"):
        spool_records(gate, 1)
    gate.persisted(1, 1)
    spool_records(gate, 1)


def test_a_full_disk_is_told_apart_and_uses_up_no_sequence(spool: Spool) -> None:
    gate = spool.camera("gate")
    spool_records(gate, 1)
    # SQLite itself then reports SQLITE_FULL, as it does for a disk.
    (pages,) = spool._file._durable.execute("PRAGMA page_count").fetchone()
    spool._file._durable.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(SpoolFullError, match=r"the disk that holds the spool .* is full"):
        gate.append(2, None, bytes(100_000))
    spool._file._durable.execute("PRAGMA max_page_count = 1000000")
    gate.append(2, None, bytes(100_000))
    assert sequences(spool) == [1, 2]


def test_a_second_process_is_kept_out(spool: Spool, clock: ManualClock) -> None:
    with pytest.raises(SpoolError, match="in use by another icm-edge"):
        Spool(spool.path.parent, 1, 1.0, clock)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="cannot use the spool folder"):
        Spool(tmp_path / "file" / "spool", 1, 1.0, clock)


def test_a_sigkill_loses_no_record_that_was_appended(tmp_path: Path, clock: ManualClock) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from edge_service.spool.store import Spool\n"
        "from icm.service.clock import SystemClock\n"
        "from tests.edge_service.parts import spool_records\n"
        "gate = Spool(Path(sys.argv[1]), 1 << 30, 3600.0, SystemClock()).camera('gate')\n"
        "while True:\n"
        "    spool_records(gate, 1)\n"
        "    print(gate.next_sequence - 1, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        for _ in range(20):
            told = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        told = int((process.stdout.read().splitlines() or [str(told)])[-1])
    process.wait()
    with opened(tmp_path, clock) as spool:
        kept = sequences(spool)
        assert kept == list(range(1, len(kept) + 1))
        assert told <= len(kept) <= told + 1
        assert spool.camera("gate").next_sequence == len(kept) + 1


def test_the_file_waits_for_the_disk_on_every_append(spool: Spool) -> None:
    assert spool._file._durable.execute("PRAGMA synchronous").fetchone() == (2,)
    assert spool._file._durable.execute("PRAGMA journal_mode").fetchone() == ("wal",)


Action = tuple[str, int, int]
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 5), st.sampled_from([64, 128])),
        st.tuples(st.just("persisted"), st.integers(0, 30), st.integers(0, 30)),
        st.tuples(st.just("rejected"), st.integers(0, 30), st.integers(0, 30)),
        st.tuples(st.just("reopen"), st.just(0), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(actions=ACTIONS)
def test_whatever_happens_records_are_kept_in_order_and_no_sequence_comes_twice(actions: list[Action]) -> None:
    clock = ManualClock()
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder), 1 << 20, 3600.0, clock)
        try:
            gate = spool.camera("gate")
            epoch = gate.epoch
            made, kept, size = 0, dict[int, int](), 0
            for action, first, second in actions:
                clock.advance(1)
                if action == "append":
                    spool_records(gate, first, width=second)
                    kept |= dict.fromkeys(range(made + 1, made + first + 1), second)
                    made += first
                elif action == "reopen":
                    spool.close()
                    spool = Spool(Path(folder), 1 << 20, 3600.0, clock)
                    gate = spool.camera("gate")
                else:
                    (gate.persisted if action == "persisted" else gate.rejected)(first, second)
                    kept = {sequence: width for sequence, width in kept.items() if not first <= sequence <= second}
                assert (gate.epoch, gate.next_sequence) == (epoch, made + 1)
                found: dict[int, int] = {}
                while batch := gate.read(max(found, default=0), 3, 1000):
                    header = StreamHeader.parse(batch.header)[0]
                    found |= {sequence: header.width for sequence, _ in batch.records}
                assert found == kept
                size = sum(len(record) for _, record in read_all(spool))
                assert spool.bytes == size
                assert gate.empty() == (not kept)
        finally:
            spool.close()


def read_all(spool: Spool) -> list[tuple[int, bytes]]:
    with sqlite3.connect(spool.path) as connection:
        rows = connection.execute("SELECT sequence, content FROM record").fetchall()
    connection.close()
    return rows


def test_a_spool_that_drained_gives_its_room_on_the_disk_back(tmp_path: Path, clock: ManualClock) -> None:
    with opened(tmp_path, clock, max_bytes=1 << 30) as spool:
        gate = spool.camera("gate")
        spool_records(gate, 16, size=1 << 20)
        full = spool.path.stat().st_size
        assert full > 16 << 20
        for sequence in range(1, 17):
            gate.persisted(sequence, sequence)
    assert spool.path.stat().st_size < 6 << 20


def a_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


@pytest.mark.parametrize("harm", [a_pipe, a_folder])
@pytest.mark.parametrize("name", [MARKS_NAME, FILE_NAME])
def test_a_file_of_the_spool_that_is_none_is_named_and_nothing_stays_open(
    tmp_path: Path, clock: ManualClock, name: str, harm: Callable[[Path], None]
) -> None:
    Spool(tmp_path, 1 << 20, 3600.0, clock).close()
    harm(tmp_path / name)
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(SpoolError, match=str(tmp_path / name)):
            Spool(tmp_path, 1 << 20, 3600.0, clock)
    assert os.listdir("/proc/self/fd") == before
    (tmp_path / name).rmdir() if harm is a_folder else (tmp_path / name).unlink()
    Spool(tmp_path, 1 << 20, 3600.0, clock).close()
