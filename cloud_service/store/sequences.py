"""Sets of sequence numbers, which mostly come one after the other."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator


class SequenceSet:
    """A set of integers from 0 to 2^64 - 1, kept as disjoint, non-adjacent closed ranges of 16 bytes each."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._first, self._last = array("Q"), array("Q")
        for first, last in ranges:
            self.add_range(first, last)

    def __contains__(self, sequence: int) -> bool:
        index = bisect_right(self._first, sequence) - 1
        return index >= 0 and sequence <= self._last[index]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The ranges as (first, last), both included, in order."""
        return iter(zip(self._first, self._last, strict=True))

    @property
    def first(self) -> int:
        """The lowest member; 0 if there is none."""
        return self._first[0] if self._first else 0

    @property
    def last(self) -> int:
        """The highest member; 0 if there is none."""
        return self._last[-1] if self._last else 0

    def add(self, sequence: int) -> None:
        self.add_range(sequence, sequence)

    def add_range(self, first: int, last: int) -> None:
        """Adds first to last, both included."""
        if not self._last or first > self._last[-1] + 1:
            self._first.append(first)
            self._last.append(last)
            return
        if first == self._last[-1] + 1:
            self._last[-1] = last
            return
        low = bisect_right(self._first, first)
        if low and self._last[low - 1] >= first - 1:
            low -= 1
            first = self._first[low]
        high = bisect_right(self._first, last + 1)
        if high > low:
            last = max(last, self._last[high - 1])
        self._first[low:high] = array("Q", (first,))
        self._last[low:high] = array("Q", (last,))

    def end_of_run(self, after: int) -> int:
        """The last member of the unbroken run that starts at ``after + 1``; ``after`` if that is no member."""
        index = bisect_right(self._first, after + 1) - 1
        return self._last[index] if index >= 0 and self._last[index] > after else after

    def to_text(self) -> str:
        """Such as ``1-5,7-7``."""
        return ",".join(f"{first}-{last}" for first, last in self)

    @staticmethod
    def from_text(text: str) -> SequenceSet:
        """Reads what ``to_text`` wrote."""
        found = SequenceSet()
        for part in text.split(",") if text else ():
            first, _, last = part.partition("-")
            found.add_range(int(first), int(last))
        return found
