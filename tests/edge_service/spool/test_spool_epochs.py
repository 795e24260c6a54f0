"""A spool that goes back in time, by a copy or a journal that lost its end: a new epoch begins by itself, no name is
given to two frames, and nothing that was acknowledged since is lost."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from edge_service.metrics import EdgeMetrics
from edge_service.spool.folder import FILE_NAME
from edge_service.spool.high_water_marks import MARKS_NAME
from edge_service.spool.store import Spool
from edge_service.uplink.uplink import Uplink
from icm.codec.bitstream.record import Record, StreamHeader
from icm.errors import SpoolError
from icm.rpc.channels import open_channel
from icm.service.backoff import Backoff
from icm.service.clock import ManualClock
from icm.service.health import Problems
from tests.edge_service.ingest_server import Ingest, serving
from tests.edge_service.parts import CODEC_ID, header_of, spool_records

WAL = f"{FILE_NAME}-wal"
PAGE = 4096


class Edge:
    """A spool in a folder, that is opened and closed as an edge's is, and killed and brought back as no edge's should.

    Attributes:
        lost: what the spool said to have lost, by reason.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.lost = folder, ManualClock(), dict[str, int]()
        self._spools = ExitStack()
        self.start()

    def start(self, folder: Path | None = None) -> None:
        self.clock.advance(1)
        self.spool = Spool(folder or self.folder, 1 << 30, 3600.0, self.clock, on_drop=self._drop)
        self._spools.callback(self.spool.close)
        self.gate = self.spool.camera("gate")

    def stop(self) -> None:
        self._spools.close()

    def _drop(self, camera: str, reason: str, count: int) -> None:
        self.lost[reason] = self.lost.get(reason, 0) + count

    async def deliver(self, ingest: Ingest) -> None:
        """Sends all that waits."""
        async with serving(ingest) as port, asyncio.timeout(20):
            channel = open_channel(f"127.0.0.1:{port}", allow_plaintext=False)
            uplink = Uplink(self.gate, CODEC_ID, channel, EdgeMetrics("test"), Problems(), Backoff(0.01, 0.05))
            task = asyncio.create_task(uplink.run())
            try:
                await uplink.drained()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await channel.close()


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    edge = Edge(tmp_path / "spool")
    yield edge
    edge.stop()


def times(ingest: Ingest) -> list[int]:
    """Capture times of all that the cloud holds: here each frame has its own."""
    return sorted(record.capture_us for record in ingest.of("gate"))


def frames(edge: Edge, first: int, count: int) -> list[int]:
    """Spools frames that were captured at the times ``first`` and on; returns those."""
    gate, header = edge.gate, header_of(edge.gate)
    packed: bytes | None = header.pack()
    for at in range(first, first + count):
        record = Record(gate.next_sequence, at, kind=0, reference=0, quality=48, digest=0, payload=b"frame")  # type: ignore[arg-type]
        gate.append(gate.next_sequence, packed, record.pack(header))
        packed = None
    return list(range(first, first + count))


def copied_back(edge: Edge) -> None:
    """The whole folder from a copy, as new files."""
    shutil.rmtree(edge.folder)
    shutil.copytree(edge.folder.with_name("copy"), edge.folder)


def written_over(edge: Edge) -> None:
    """The same bytes in the same files, as a snapshot of a whole disk brings them back."""
    for file in edge.folder.iterdir():
        content = file.with_name(file.name)
        old = edge.folder.with_name("copy") / file.name
        content.write_bytes(old.read_bytes() if old.exists() else b"")


WAYS_BACK = [copied_back, written_over]


@pytest.mark.parametrize("back", WAYS_BACK)
@pytest.mark.parametrize("waiting", [0, 3], ids=["drained", "with records that waited"])
@pytest.mark.parametrize("outage", [2, 5, 9], ids=["fewer", "as many", "more"])
async def test_what_is_spooled_after_a_copy_came_back_reaches_the_cloud_beside_what_was_sent_before(
    edge: Edge, back: Callable[[Edge], None], waiting: int, outage: int
) -> None:
    """Whether fewer frames, as many or more come before the cloud is there again than were made after the copy."""
    ingest = Ingest()
    taken = frames(edge, 1000, 4)
    await edge.deliver(ingest)
    taken += frames(edge, 2000, waiting)
    edge.stop()
    shutil.copytree(edge.folder, edge.folder.with_name("copy"))
    edge.start()
    taken += frames(edge, 3000, 5)
    await edge.deliver(ingest)
    edge.stop()
    back(edge)
    edge.start()
    taken += frames(edge, 4000, outage)
    await edge.deliver(ingest)
    taken += frames(edge, 5000, 2)
    await edge.deliver(ingest)
    assert times(ingest) == sorted(taken)


async def test_a_copy_that_came_back_is_noticed_where_the_cloud_lacks_the_record_that_comes_next(edge: Edge) -> None:
    """The cloud's unbroken run does not go on, so it resumes where the copy ends; but it has later records."""
    ingest = Ingest(rejects=frozenset({5}))
    taken = frames(edge, 1000, 4)
    await edge.deliver(ingest)
    edge.stop()
    shutil.copytree(edge.folder, edge.folder.with_name("copy"))
    edge.start()
    taken += frames(edge, 3000, 5)[1:]
    await edge.deliver(ingest)
    edge.stop()
    written_over(edge)
    ingest.rejects = frozenset()
    edge.start()
    taken += frames(edge, 4000, 5)
    await edge.deliver(ingest)
    assert times(ingest) == sorted(taken)


async def test_records_of_an_earlier_epoch_go_first_on_a_stream_of_their_own(edge: Edge) -> None:
    """The cloud takes no other epoch of a camera while a stream of it lives, so that one ends before."""
    ingest, epoch = Ingest(credit=2), edge.gate.epoch
    frames(edge, 1000, 3)
    edge.gate.sent = 3
    edge.gate.begin_epoch()
    frames(edge, 2000, 3)
    await edge.deliver(ingest)
    assert [hello.epoch for hello in ingest.hellos] == [epoch, edge.gate.epoch]
    assert list(ingest.records["gate", epoch]) == [1, 2, 3]
    assert list(ingest.records["gate", edge.gate.epoch]) == [4, 5, 6]


def cut(wal: Path) -> None:
    with wal.open("r+b") as file:
        file.truncate(wal.stat().st_size // 2)


def flip(wal: Path) -> None:
    with wal.open("r+b") as file:
        file.seek(wal.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


def fill_with_zeros(wal: Path) -> None:
    size = wal.stat().st_size
    with wal.open("r+b") as file:
        file.truncate(size // 3)
        file.truncate(size)


@pytest.mark.parametrize("damage", [cut, flip, fill_with_zeros, Path.unlink])
async def test_a_journal_that_lost_its_end_gives_no_name_to_two_frames(
    edge: Edge, damage: Callable[[Path], None]
) -> None:
    ingest = Ingest()
    frames(edge, 1000, 30)
    # As a process that is killed leaves it; one that ends puts the journal into the file.
    killed = edge.folder.with_name("killed")
    shutil.copytree(edge.folder, killed)
    before = edge.gate.epoch
    edge.stop()
    for name in (FILE_NAME, WAL, MARKS_NAME):
        # In their own files, so that nothing but the damage tells.
        (edge.folder / name).write_bytes((killed / name).read_bytes())
    damage(edge.folder / WAL)
    edge.start()
    first, epoch = edge.gate.next_sequence, edge.gate.epoch
    taken = frames(edge, 4000, 20)
    assert first <= 30
    assert edge.lost == {"spool_damaged": 31 - first}
    assert epoch > before
    await edge.deliver(ingest)
    assert [record.capture_us for record in ingest.records["gate", epoch].values()] == taken
    assert all(record.capture_us < 4000 for record in ingest.records.get(("gate", before), {}).values())


def test_a_spool_that_is_gone_while_its_marks_are_not_begins_an_epoch_that_never_was(edge: Edge) -> None:
    edge.clock.advance(3600)
    edge.gate.begin_epoch()
    epoch = edge.gate.epoch
    edge.stop()
    (edge.folder / FILE_NAME).unlink()
    edge.clock.advance(-7200)
    edge.start()
    assert edge.gate.epoch > epoch


def test_a_spool_that_nobody_touched_keeps_its_epoch(edge: Edge) -> None:
    epoch = edge.gate.epoch
    for _ in range(3):
        spool_records(edge.gate, 2)
        edge.stop()
        edge.start()
    assert (edge.gate.epoch, edge.gate.next_sequence) == (epoch, 7)
    assert not edge.lost


@pytest.mark.parametrize("content", [b"", b"x" * 300, bytes(1000)])
def test_marks_that_are_none_say_nothing(edge: Edge, content: bytes) -> None:
    epoch = edge.gate.epoch
    spool_records(edge.gate, 2)
    edge.stop()
    (edge.folder / MARKS_NAME).write_bytes(content)
    edge.start()
    assert (edge.gate.epoch, edge.gate.next_sequence) == (epoch, 3)


def test_a_header_that_was_packed_before_the_epoch_began_is_of_the_new_one(edge: Edge) -> None:
    header = header_of(edge.gate)
    edge.gate.begin_epoch()
    edge.gate.append(1, header.pack(), b"record")
    batch = edge.gate.read(0, 1, 1000)
    assert batch is not None
    assert StreamHeader.parse(batch.header)[0].epoch == edge.gate.epoch > header.epoch


def test_an_epoch_that_begins_takes_what_was_not_sent_and_what_follows_under_the_same_header(edge: Edge) -> None:
    old = edge.gate.epoch
    frames(edge, 1000, 4)
    edge.gate.sent = 2
    edge.gate.begin_epoch()
    header = header_of(edge.gate)
    edge.gate.append(5, None, Record(5, 5, 0, 0, 48, 0, b"").pack(header))  # type: ignore[arg-type]
    found = {}
    for sequence in range(1, 6):
        batch = edge.gate.read(sequence - 1, 1, 1)
        assert batch is not None
        found[batch.records[0][0]] = StreamHeader.parse(batch.header)[0].epoch
    assert found == {1: old, 2: old, 3: edge.gate.epoch, 4: edge.gate.epoch, 5: edge.gate.epoch}
    assert edge.gate.end_of_epoch(old) == 2
    assert edge.gate.end_of_epoch(edge.gate.epoch) == 5


@pytest.mark.parametrize("records", [0, 25])
def test_records_of_another_version_of_the_format_are_kept_in_a_file_of_their_own_and_counted(
    edge: Edge, records: int
) -> None:
    frames(edge, 1000, max(records, 1))
    if not records:
        edge.gate.persisted(1, 1)
    following = edge.gate.next_sequence
    edge.stop()
    with closing(sqlite3.connect(edge.folder / FILE_NAME)) as connection, connection:
        connection.execute(
            "UPDATE header SET content = CAST(substr(content, 1, 4) || x'01' || substr(content, 6) AS BLOB)"
        )
    before = (edge.folder / FILE_NAME).read_bytes()
    edge.start()
    assert edge.lost == ({"spool_format": records} if records else {})
    assert [file.read_bytes() for file in edge.folder.glob("*.format")] == [before] * bool(records)
    assert edge.gate.next_sequence >= following
    assert frames(edge, 2000, 2)


def test_a_folder_that_was_replaced_takes_no_frame_that_a_restart_would_not_find(edge: Edge) -> None:
    spool_records(edge.gate, 1)
    edge.folder.rename(edge.folder.with_name("moved"))
    other = Spool(edge.folder, 1 << 20, 3600.0, edge.clock)
    try:
        with pytest.raises(SpoolError, match="was replaced, or another icm-edge took it"):
            spool_records(edge.gate, 1)
    finally:
        other.close()


@pytest.mark.parametrize(
    ("spoil", "whole"),
    [
        (lambda packed: packed, True),
        (lambda packed: packed[:-1] + bytes([packed[-1] ^ 1]), False),
        (lambda packed: packed[:-1], False),
        (lambda packed: packed + b"x", False),
        (lambda packed: b"", False),
    ],
)
def test_the_spool_knows_whether_its_own_copy_of_a_record_is_whole(
    edge: Edge, spoil: Callable[[bytes], bytes], whole: bool
) -> None:
    header = header_of(edge.gate)
    packed = Record(1, 1, 0, 0, 48, 0, b"payload").pack(header)  # type: ignore[arg-type]
    edge.gate.append(1, header.pack(), spoil(packed))
    assert edge.gate.whole(1) is whole
    assert not edge.gate.whole(2)


def test_what_follows_under_the_same_header_is_of_the_new_epoch_where_nothing_waited(edge: Edge) -> None:
    frames(edge, 1000, 4)
    edge.gate.sent = 4
    edge.gate.begin_epoch()
    edge.gate.append(5, None, Record(5, 5, 0, 0, 48, 0, b"").pack(header_of(edge.gate)))  # type: ignore[arg-type]
    batch = edge.gate.read(4, 1, 1000)
    assert batch is not None
    assert StreamHeader.parse(batch.header)[0].epoch == edge.gate.epoch


class FullDisk:
    """A connection to a database whose disk takes no more when all is to be written."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        if sql == "COMMIT":
            raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(sql, *values)  # type: ignore[arg-type]


def test_an_epoch_that_the_disk_did_not_take_has_not_begun(edge: Edge) -> None:
    frames(edge, 1000, 2)
    before, connection = edge.gate.epoch, edge.spool._file._durable
    edge.spool._file._durable = FullDisk(connection)  # type: ignore[assignment]
    with pytest.raises(SpoolError, match="full"):
        edge.gate.begin_epoch()
    assert edge.gate.epoch == before
    edge.spool._file._durable = connection
    edge.gate.begin_epoch()
    assert edge.gate.epoch > before
