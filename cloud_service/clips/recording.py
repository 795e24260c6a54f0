"""A segment's records as one reads them for a clip: all of them, and where pieces of video begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloud_service.archive.fragments import to_ticks
from cloud_service.archive.video import KEY_TICKS
from cloud_service.store import Position, RecordStore, Segment
from icm.codec.bitstream.record import Record, StreamHeader
from icm.errors import NotFoundError

_AT_ONCE = 4096


@dataclass(frozen=True)
class Recording:
    """What can be read of a segment.

    Attributes:
        segment: as the index has it.
        header: the segment's.
        records: in their order.
        damage: what makes the rest of the segment unreadable; empty if nothing does.
    """

    segment: Segment
    header: StreamHeader
    records: Sequence[Record]
    damage: str = ""


def read_recording(store: RecordStore, segment: Segment) -> Recording:
    """The records of a segment.

    Raises:
        NotFoundError: its file is gone.
        RecordError: its header is damaged.
        StorageError: it cannot be read just now.
    """
    records: list[Record] = []
    position, header, damage = Position(segment.number, 0), None, ""
    while (chunk := store.read(segment.camera, position, _AT_ONCE)) is not None:
        if chunk.segment.number != segment.number:
            break
        records += chunk.records
        position, header = chunk.next, chunk.header
        if chunk.damage is not None:
            damage = f"the rest of segment {segment.path} is lost: {chunk.damage}"
        if chunk.ended:
            break
    if header is None:
        raise NotFoundError(f"segment {segment.path} is gone")
    return Recording(segment, header, records, damage)


def pieces(records: Sequence[Record]) -> list[range]:
    """Places of the records that are rendered together: as the archive's videos, each begins with a key frame, the
    first that is five seconds of capture time after the one before.
    """
    starts: list[int] = []
    due = 0
    for place, record in enumerate(records):
        ticks = to_ticks(record.capture_us)
        if not starts or ticks >= due:
            starts.append(place)
            due = ticks + KEY_TICKS
    return [range(start, end) for start, end in zip(starts, [*starts[1:], len(records)], strict=True)]
