"""A sealed segment as a row of ``record_segments``, and back.

A row that says a sequence too many would have the cloud acknowledge a record that it does not hold, and a database does
not notice a bit that its disk forgot. So rows carry a checksum, and one that does not fit is no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import google_crc32c

from cloud_service.database.tables import RecordSegmentRow
from cloud_service.store.segment import Segment
from cloud_service.store.sequences import SequenceSet


class State(StrEnum):
    """What the last start or the seal found of a segment's file."""

    WHOLE = "whole"
    DAMAGED = "damaged"
    """Its end cannot be read: what comes before is in the row, and each start reads the file again."""
    GONE = "gone"
    """The row stays for its number, which must not come back; no reader gets it."""


class Change(NamedTuple):
    """What the index is to say of one number from now on.

    Attributes:
        camera: the camera's name.
        number: the segment's.
        segment: what readers get, or None for nothing.
        state: the row's, or None if there is to be no row.
    """

    camera: str
    number: int
    segment: Segment | None
    state: State | None


_STATES = frozenset(State)
_FIELDS = (
    "camera",
    "number",
    "epoch",
    "path",
    "size",
    "records",
    "first_capture_us",
    "last_capture_us",
    "sequences",
    "kept_from_us",
    "disk_bytes",
    "sha256",
)
_FIRST_FIELDS = _FIELDS.index("kept_from_us")
_TABLE = RecordSegmentRow.__table__
COLUMNS = [_TABLE.c[name] for name in (*_FIELDS, "checksum", "first_sequence", "last_sequence", "state")]
"""What ``segment_of`` reads, in its order."""
NUMBER, STATE = 1, len(COLUMNS) - 1
"""Places of these in a row: a start reads so many that their names would take it a second longer."""


def row_of(segment: Segment, state: State) -> dict[str, Any]:
    """The row of a segment by column."""
    fields = {name: getattr(segment, name) for name in _FIELDS} | {"sequences": segment.sequences.to_text()}
    return fields | {
        "checksum": _checksum(list(fields.values())),
        "first_sequence": segment.sequences.first,
        "last_sequence": segment.sequences.last,
        "state": state,
    }


def segment_of(row: Sequence[Any]) -> Segment | None:
    """The segment of a row of ``COLUMNS``; None if the row is damaged."""
    *fields, checksum, first, last, state = row
    if _checksum(fields) != checksum or state not in _STATES:
        return None
    camera, number, epoch, path, size, records, first_us, last_us, text, kept_from_us, disk_bytes, sha256 = fields
    sequences = SequenceSet.from_text(text)
    if (sequences.first, sequences.last) != (first, last):
        return None
    return Segment(
        camera, number, epoch, path, size, records, first_us, last_us, sequences, True, kept_from_us, disk_bytes, sha256
    )


def _checksum(fields: list[Any]) -> int:
    # Rows from before there were digests have a checksum over what there was.
    fields = fields if fields[-1] else fields[:_FIRST_FIELDS]
    return int(google_crc32c.value(repr(fields).encode(errors="surrogatepass")))
