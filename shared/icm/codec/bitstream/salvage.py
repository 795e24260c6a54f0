"""All whole records of a file that was cut off or damaged, and what is missing."""

from __future__ import annotations

import numpy as np

from icm.codec.bitstream.record import Record, StreamHeader
from icm.errors import RecordError

_MOST_LOST = 1 << 16
"""Records that may be missing between two; a bound on what is looked at."""
_AT_ONCE = 1 << 20


def whole_records(data: bytes) -> tuple[StreamHeader, list[Record], str | None]:
    """A stream's header, its whole records in order, and what is wrong with the rest; None if nothing is.

    Raises:
        RecordError: there is no header, or not one whole record.
    """
    header, position = StreamHeader.parse(data)
    view = memoryview(data)
    records: list[Record] = []
    problems: list[str] = []
    while position < len(data):
        try:
            record, length = Record.parse(view[position:], header)
            if records and record.sequence <= records[-1].sequence:
                raise RecordError(f"record {record.sequence} comes after {records[-1].sequence}")
        except RecordError as error:
            problems.append(str(error))
            last = records[-1].sequence if records else 0
            position = _next_record(data, position + 1, header, last)
        else:
            records.append(record)
            position += length
    if not records:
        raise RecordError(problems[0] if problems else "it holds a header but no record")
    if not problems:
        return header, records, None
    more = f", and {len(problems) - 1} more such places" if len(problems) > 1 else ""
    return header, records, f"{problems[0]}{more}; {len(records)} whole records are left"


def _next_record(data: bytes, position: int, header: StreamHeader, last: int) -> int:
    """Where a whole record with a later sequence than ``last`` starts; the end if there is none."""
    view = memoryview(data)
    for start in range(position, len(data) - 3, _AT_ONCE):
        chunk = np.frombuffer(view[start : start + _AT_ONCE + 3], np.uint8).astype(np.int64)
        sequences = sum(chunk[shift : len(chunk) - 3 + shift] << 8 * shift for shift in range(4))
        for offset in np.flatnonzero((sequences > last) & (sequences <= last + _MOST_LOST)):
            try:
                Record.parse(view[start + int(offset) :], header)
            except RecordError:
                continue
            return start + int(offset)
    return len(data)
