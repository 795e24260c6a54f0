"""All whole records of a file that was cut off or damaged, and what is missing."""

from __future__ import annotations

import numpy as np

from icm.codec.bitstream.range_checksums import RangeChecksums
from icm.codec.bitstream.record import MAGIC, Record, StreamHeader
from icm.errors import RecordError

_MOST_LOST = 1 << 16
"""Records that may be missing between two; a bound on what is looked at."""
_AT_FIRST, _AT_ONCE = 1 << 8, 1 << 20
"""Bytes that are looked through for the next record at first, as it is near as a rule, and at most in a step."""
_LONGEST_HEADER = 1 << 9


def whole_records(data: bytes) -> tuple[StreamHeader, list[Record], str | None]:
    """A stream's header, its whole records in order, and what is wrong with the rest; None if nothing is.

    Raises:
        RecordError: there is no header, or not one whole record.
    """
    header, position = StreamHeader.parse(data)
    end = _next_stream(data, position)
    another = [f"another stream begins at byte {end}: cut the file in two there"] if end < len(data) else []
    data = data[:end]
    search = _Search(data, header)
    records: list[Record] = []
    problem, places = "", 0
    while position < len(data):
        last = records[-1].sequence if records else 0
        try:
            record, length = search.record(position)
            if record.sequence <= last:
                raise RecordError(f"record {record.sequence} comes after {last}")
        except RecordError as error:
            problem, places = problem or str(error), places + 1
            position = search.next_place(position + 1, last)
        else:
            records.append(record)
            position += length
    if not records:
        raise RecordError(problem or "it holds a header but no record")
    more = f", and {places - 1} more such places" if places > 1 else ""
    damage = [f"{problem}{more}; {len(records)} whole records are left"] if problem else []
    return header, records, "; ".join(damage + another) or None


def _next_stream(data: bytes, at: int) -> int:
    """Where the header of a further stream stands, as in files that were joined; the end if there is none.

    Its records would otherwise be taken for those of the stream before.
    """
    while (at := data.find(MAGIC, at)) >= 0:
        try:
            StreamHeader.parse(data[at : at + _LONGEST_HEADER])
        except RecordError:
            at += 1
        else:
            return at
    return len(data)


class _Search:
    """Looks for records among other bytes, in a time that grows with these and not with their square: what only looks
    like a record may say that it is as long as 16 MB, and so may the next few bytes.
    """

    def __init__(self, data: bytes, header: StreamHeader) -> None:
        self._data, self._view, self._header = data, memoryview(data), header
        self._checksums = RangeChecksums(data)

    def record(self, start: int) -> tuple[Record, int]:
        """The record that starts here, and its length.

        Raises:
            RecordError: there is none.
        """
        return Record.parse(self._view[start:], self._header, lambda size: self._checksums.of(start, start + size))

    def next_place(self, start: int, last: int) -> int:
        """Where a whole record with a later sequence than ``last`` starts; the end if there is none."""
        step = _AT_FIRST
        while start < len(self._data) - 3:
            chunk = np.frombuffer(self._view[start : start + step + 3], np.uint8).astype(np.int64)
            sequences = sum(chunk[shift : len(chunk) - 3 + shift] << 8 * shift for shift in range(4))
            for offset in np.flatnonzero((sequences > last) & (sequences <= last + _MOST_LOST)):
                try:
                    self.record(start + int(offset))
                except RecordError:
                    continue
                return start + int(offset)
            start, step = start + step, min(2 * step, _AT_ONCE)
        return len(self._data)
