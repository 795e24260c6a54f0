"""Reading records back from a segment file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cloud_service.durable import storage_error
from cloud_service.record_store.position import Position
from cloud_service.record_store.segment import Segment
from shared.codec.record import Kind, Record, StreamHeader
from shared.errors import NotFoundError, RecordError, StorageError

_HEADER_BYTES = 256
"""At least the longest stream header."""
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Chunk:
    """Neighbouring records of one segment.

    Attributes:
        segment: where they are from.
        header: the segment's.
        records: may be empty when ``ended``.
        next: where to read on.
        starts: whether they begin with the segment's first.
        ended: whether these are the segment's last.
        damage: what makes the rest of the segment unreadable, if anything does.
    """

    segment: Segment
    header: StreamHeader
    records: list[Record]
    next: Position
    starts: bool
    ended: bool
    damage: RecordError | None = None


def read(root: Path, segment: Segment, offset: int, end: int, sealed: bool, limit: int) -> Chunk | None:
    """Up to ``limit`` records between two offsets; None if there are none and the segment may still grow.

    Raises:
        NotFoundError: the file is gone.
        RecordError: its header is damaged.
        StorageError: it cannot be read just now.
    """
    if offset >= end and not sealed:
        return None
    path = root / segment.path
    records: list[Record] = []
    damage = None
    try:
        with path.open("rb") as file:
            header, start = StreamHeader.parse(file.read(_HEADER_BYTES))
            position = max(offset, start)
            file.seek(position)
            data = file.read(min(_READ_BYTES, end - position))
            if not _whole_record(data, header) and len(data) < end - position:
                data += file.read(end - position - len(data))
    except FileNotFoundError:
        raise NotFoundError(f"segment {path} is gone") from None
    except OSError as error:
        raise storage_error(error, path) from None
    view = memoryview(data)
    used = 0
    while used < len(data) and len(records) < limit:
        try:
            record, length = Record.parse(view[used:], header)
        except RecordError as error:
            if not records or position + len(data) == end:
                damage = error
            break
        records.append(record)
        used += length
    starts = position == start
    position += used
    ended = sealed and (position == end or damage is not None)
    if not records and not ended:
        return None
    return Chunk(
        segment, header, records, Position(segment.number + 1, 0) if ended else Position(segment.number, position),
        starts, ended, damage,
    )  # fmt: skip


def first(root: Path, segment: Segment) -> Record:
    """The segment's first record.

    Raises:
        NotFoundError: the file is gone.
        RecordError: its start is damaged.
        StorageError: it cannot be read just now.
    """
    chunk = read(root, segment, 0, segment.size, sealed=False, limit=1)
    if chunk is None:
        raise RecordError(f"segment {root / segment.path} does not begin with a whole record")
    return chunk.records[0]


def find(root: Path, segment: Segment, sequence: int) -> tuple[StreamHeader, list[Record]]:
    """The record of this sequence and, before it, those since the last I record.

    Raises:
        StorageError: the file cannot be read.
    """
    path = root / segment.path
    chain: list[Record] = []
    try:
        with path.open("rb") as file:
            data = file.read(segment.size)
        header, offset = StreamHeader.parse(data)
        view = memoryview(data)
        while offset < len(data):
            record, length = Record.parse(view[offset:], header)
            offset += length
            if record.kind is Kind.I:
                chain.clear()
            chain.append(record)
            if record.sequence == sequence:
                return header, chain
    except OSError as error:
        raise storage_error(error, path) from None
    except RecordError as error:
        raise StorageError(f"segment {path} cannot be read: {error}") from None
    raise StorageError(f"segment {path} lost record {sequence}, which the index says it holds")


def _whole_record(data: bytes, header: StreamHeader) -> bool:
    try:
        Record.parse(data, header)
    except RecordError:
        return False
    return True
