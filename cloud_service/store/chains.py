"""A frame's record with those that it needs before it, from whatever segments these lie in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from cloud_service.store import reading
from cloud_service.store.keyframes import SegmentKeyframes
from cloud_service.store.segment import Segment
from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.errors import BusyError, ReferenceMissingError

MOST_RECORDS_DECODED = 6000
"""For one frame that is asked for."""
MOST_BYTES_DECODED = 128 << 20
"""Of these records, which are held together; at least what a segment holds, so that keyframes always help."""
_KEYS_SECONDS = 30.0
"""After which to ask again for one that needs more."""


class Found(NamedTuple):
    """A frame's record and those that it needs before it, in their order.

    Attributes:
        header: of the frame's segment.
        lacking: by the sequence of their first record, the segments on the way that have no keyframe to begin with,
            each with its header.
    """

    header: StreamHeader
    records: list[Record]
    lacking: dict[int, tuple[Segment, StreamHeader]]


def find_chain(
    root: Path,
    segment: Segment,
    sequence: int,
    keyframes: SegmentKeyframes,
    holder: Callable[[str, int, int], Segment | None],
) -> Found:
    """The record of this sequence, which a segment holds, and those that it needs; raises as ``RecordStore.find`` does.

    Args:
        root: the store's folder.
        segment: which holds it.
        sequence: whose.
        keyframes: of all segments.
        holder: returns which segment holds a record, by camera, epoch and sequence.
    """
    camera, epoch = segment.camera, segment.epoch
    found = reading.find(root, segment, sequence)
    header, chain = found.header, found.records
    size = _bytes(chain)
    lacking: dict[int, tuple[Segment, StreamHeader]] = {}
    # Every round goes to a lower sequence, whatever the files hold, so there is a last one.
    while chain[0].kind is not Kind.I:
        first = chain[0]
        if found.starts:
            if (keyframe := keyframes.read(segment, first)) is not None:
                return Found(header, [keyframe, *chain[1:]], lacking)
            lacking[first.sequence] = segment, found.header
        before = first.sequence - first.reference
        earlier = holder(camera, epoch, before)
        if earlier is None:
            raise ReferenceMissingError(
                f"frame {sequence} of camera {camera!r} needs record {before}, which is not here"
            )
        segment = earlier
        found = reading.find(root, segment, before)
        chain, size = found.records + chain, size + _bytes(found.records)
        if len(chain) > MOST_RECORDS_DECODED or size > MOST_BYTES_DECODED:
            raise BusyError(
                f"frame {sequence} of camera {camera!r} needs {len(chain)} records of {size} bytes before it, or"
                f" more; one call decodes {MOST_RECORDS_DECODED} of {MOST_BYTES_DECODED}: ask again once the"
                " detector has come by",
                _KEYS_SECONDS,
            )
    return Found(header, chain, lacking)


def _bytes(records: Sequence[Record]) -> int:
    return sum(len(record.payload) for record in records)
