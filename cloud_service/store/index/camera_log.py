"""What is kept in memory of a camera: what is open, totals, and which sequences are held; never a list of segments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cloud_service.store.index.rows import READABLE, Change
from cloud_service.store.segment import OpenSegment, Segment
from cloud_service.store.sequences import SequenceSet


class Page(NamedTuple):
    """Neighbouring rows of the index.

    Attributes:
        first: start of its range of numbers: it holds all segments in the index from here to below ``end``.
        end: end of that range, which is not in it any more.
        segments: in order of their numbers.
    """

    first: int
    end: int
    segments: list[Segment]


NO_PAGE = Page(0, 0, [])


class Backlog(NamedTuple):
    """How many bytes lay in segments from ``number`` on when ``total`` bytes lay in all."""

    number: int
    bytes: int
    total: int


@dataclass
class CameraLog:
    """A camera's log of segments. Not thread-safe.

    Attributes:
        held: by epoch, the sequences that are persisted, or were and are deleted. It grows with the gaps between them
            only, and nothing of it is forgotten: that would be kept twice.
        deleted: those of them that were deleted.
        records: how many there are in all segments.
        bytes: how many there are in all segments.
        first_capture_us: earliest capture time, microseconds since 1970.
        last_capture_us: latest capture time, microseconds since 1970.
        newest: the segment with the highest number; None if there is none.
        open: the segment that grows, if there is one; its first record may not be on the disk yet.
        opened_at: when that was, by the monotonic clock.
        next_number: the next segment's.
        unwritten: by number, what the index does not say yet: a sealed segment, or None for one that is to go from it.
        last_indexed: no higher number is in the index.
        page: rows of the index that were asked for last.
        version: counts the changes of the index.
        backlog: what was counted last.
    """

    held: dict[int, SequenceSet] = field(default_factory=dict)
    deleted: dict[int, SequenceSet] = field(default_factory=dict)
    records: int = 0
    bytes: int = 0
    first_capture_us: int = 0
    last_capture_us: int = 0
    newest: Segment | None = None
    open: OpenSegment | None = None
    opened_at: float = 0.0
    next_number: int = 1
    unwritten: dict[int, Segment | None] = field(default_factory=dict)
    last_indexed: int = 0
    page: Page = NO_PAGE
    version: int = 0
    backlog: Backlog | None = None

    def add(self, segment: Segment) -> None:
        """Takes in a segment of which nothing is counted yet."""
        held = self.held.setdefault(segment.epoch, SequenceSet())
        for first, last in segment.sequences:
            held.add_range(first, last)
        self._count(segment.records, segment.size, segment.first_capture_us, segment.last_capture_us)
        if self.newest is None or segment.number > self.newest.number:
            self.newest = segment
        self.next_number = max(self.next_number, segment.number + 1)

    def count_growth(self, sequences: Sequence[int], size: int) -> None:
        """Takes in what the newest segment has grown by, and that segment knows already."""
        segment = self.newest
        assert segment is not None
        held = self.held[segment.epoch]
        for sequence in sequences:
            held.add(sequence)
        self._count(len(sequences), size, segment.first_capture_us, segment.last_capture_us)

    def note_deleted(self, epoch: int, sequences: Iterable[tuple[int, int]]) -> None:
        """These records, as ranges, were persisted once, and stay known."""
        held, deleted = self.held.setdefault(epoch, SequenceSet()), self.deleted.setdefault(epoch, SequenceSet())
        for first, last in sequences:
            held.add_range(first, last)
            deleted.add_range(first, last)

    def remove(self, segments: Sequence[Segment], oldest_us: int | None) -> None:
        """Takes out segments that the index says nothing of any more.

        Args:
            oldest_us: earliest capture time in what is left, microseconds since 1970; None if that is nothing.
        """
        for segment in segments:
            self.note_deleted(segment.epoch, segment.sequences)
            self.records -= segment.records
            self.bytes -= segment.size
            if self.newest is not None and segment.number == self.newest.number:
                # What comes next cannot lean on it.
                self.newest = None
        if oldest_us is not None:
            self.first_capture_us = oldest_us
        self.page, self.backlog = NO_PAGE, None
        self.version += 1

    def holds(self, epoch: int, sequence: int) -> bool:
        """Whether the record is persisted."""
        return epoch in self.held and sequence in self.held[epoch]

    def written(self, changes: Sequence[Change]) -> None:
        """The index says now what these changes do."""
        for change in changes:
            if self.unwritten.get(change.number, change) is change.segment:
                del self.unwritten[change.number]
            if change.state in READABLE:
                self.last_indexed = max(self.last_indexed, change.number)
            if self.page.first <= change.number < self.page.end:
                self.page = NO_PAGE
        self.version += 1

    def in_memory(self) -> list[Segment]:
        """The segments that the index does not know yet, in order of their numbers; the open one last."""
        sealed = [segment for _, segment in sorted(self.unwritten.items()) if segment is not None]
        return [*sealed, self.open.info] if self.open is not None and self.open.info.records else sealed

    def reads_index(self, number: int) -> bool:
        """Whether the index must be asked for the first segment from this number on."""
        if number > self.last_indexed:
            return False
        in_page = self.page.first <= number < self.page.end
        rest = bool(self.page.segments) and self.page.segments[-1].number >= number
        return not in_page or not (rest or self.page.end > self.last_indexed)

    def first_from(self, number: int) -> Segment | None:
        """The first segment from this number on, by the page and what is in memory."""
        indexed = self.page.segments if number <= self.last_indexed else []
        for segment in sorted(
            (*(found for found in indexed if found.number not in self.unwritten), *self.in_memory()),
            key=lambda found: found.number,
        ):
            if segment.number >= number:
                # An open one grows while it is read.
                return segment if segment.sealed else segment.now()
        return None

    def _count(self, records: int, size: int, first_capture_us: int, last_capture_us: int) -> None:
        self.bytes += size
        if not records:
            return
        self.first_capture_us = min(self.first_capture_us, first_capture_us) if self.records else first_capture_us
        self.last_capture_us = max(self.last_capture_us, last_capture_us) if self.records else last_capture_us
        self.records += records
