"""Reading records back from a segment file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cloud_service.store.position import Position
from cloud_service.store.segment import Segment
from icm.codec.bitstream.record import Record, StreamHeader
from icm.errors import NotFoundError, RecordError, StoredDamageError, storage_error

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


class Chain(NamedTuple):
    """Records of one segment, each of which refers to the one before it; ``starts`` as in ``Chunk``."""

    header: StreamHeader
    records: list[Record]
    starts: bool


def read(root: Path, segment: Segment, offset: int, end: int, sealed: bool, limit: int) -> Chunk | None:
    """Up to ``limit`` records between two offsets; None if there are none and the segment may still grow.

    Raises:
        NotFoundError: the file is gone.
        RecordError: its header is damaged, or another segment's.
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
            _check_header(path, header, segment)
            position = max(offset, start)
            file.seek(position)
            # A cursor may point behind the end: what lay there is damaged.
            data = file.read(min(_READ_BYTES, max(0, end - position)))
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
            if record.sequence not in segment.sequences:
                raise RecordError(f"segment {path} holds record {record.sequence}, which is not one of its own")
        except RecordError as error:
            if not records or position + len(data) == end:
                damage = error
            break
        records.append(record)
        used += length
    starts = position == start
    position += used
    ended = sealed and (position >= end or damage is not None)
    if not records and not ended:
        return None
    return Chunk(
        segment, header, records, Position(segment.number + 1, 0) if ended else Position(segment.number, position),
        starts, ended, damage,
    )  # fmt: skip


def header(root: Path, segment: Segment) -> StreamHeader:
    """The segment's header.

    Raises:
        NotFoundError: the file is gone.
        RecordError: it is damaged, or another segment's.
        StorageError: it cannot be read just now.
    """
    path = root / segment.path
    try:
        with path.open("rb") as file:
            found, _ = StreamHeader.parse(file.read(_HEADER_BYTES))
    except FileNotFoundError:
        raise NotFoundError(f"segment {path} is gone") from None
    except OSError as error:
        raise storage_error(error, path) from None
    _check_header(path, found, segment)
    return found


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


def find(root: Path, segment: Segment, sequence: int) -> Chain:
    """The record of this sequence and, before it, those that it needs in the same segment.

    Raises:
        StorageError: the file cannot be read.
        StoredDamageError: it does not hold what it should.
    """
    path = root / segment.path
    chain: list[Record] = []
    starts = False
    try:
        with path.open("rb") as file:
            data = file.read(segment.size)
        header, offset = StreamHeader.parse(data)
        _check_header(path, header, segment)
        begin, view = offset, memoryview(data)
        while offset < len(data):
            record, length = Record.parse(view[offset:], header)
            if not chain or record.sequence - record.reference != chain[-1].sequence:
                chain, starts = [], offset == begin
            chain.append(record)
            offset += length
            if record.sequence == sequence:
                return Chain(header, chain, starts)
    except OSError as error:
        raise storage_error(error, path) from None
    except RecordError as error:
        raise StoredDamageError(f"segment {path} cannot be read: {error}") from None
    raise StoredDamageError(f"segment {path} lost record {sequence}, which it should hold")


def _check_header(path: Path, header: StreamHeader, segment: Segment) -> None:
    """Checks that a file is the segment's.

    Raises:
        RecordError: a file that was put here is not the segment's.
    """
    if (header.camera, header.epoch) != (segment.camera, segment.epoch):
        raise RecordError(
            f"segment {path} should hold camera {segment.camera}, epoch {segment.epoch}; here is camera"
            f" {header.camera}, epoch {header.epoch}"
        )


def _whole_record(data: bytes, header: StreamHeader) -> bool:
    try:
        Record.parse(data, header)
    except RecordError:
        return False
    return True
