"""Finds a camera's segments: those that the index knows by pages of its rows, the others in memory."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from heapq import merge
from threading import Lock

from sqlalchemy.exc import SQLAlchemyError

from cloud_service.database.damage import trouble
from cloud_service.store.index.camera_log import Backlog, CameraLog, Page
from cloud_service.store.index.segment_index import SegmentIndex, sound_segment
from cloud_service.store.position import Position
from cloud_service.store.segment import MAX_NUMBER, Segment
from cloud_service.store.sequences import SequenceSet
from icm.errors import StorageError

_PAGE = 32
"""Rows of the index that are read together, and kept for each camera: readers go from segment to segment."""


class SegmentLookup:
    """What readers ask of the log. Thread-safe; the index is asked while the lock is free.

    Every method raises StorageError where the database does not answer.
    """

    def __init__(self, index: SegmentIndex, logs: dict[str, CameraLog], lock: Lock) -> None:
        """Creates the lookup in an index.

        Args:
            logs: by camera; whoever changes one holds the lock.
        """
        self._index, self._logs, self._lock = index, logs, lock

    def first_from(self, camera: str, number: int) -> Segment | None:
        """The camera's first segment from this number on, as it is now."""
        while True:
            with self._lock:
                log = self._logs.get(camera)
                if log is None:
                    return None
                if not log.reads_index(number):
                    return log.first_from(number)
                version, last, unwritten = log.version, log.last_indexed, set(log.unwritten)
            page = self._page(camera, number, last, unwritten)
            with self._lock:
                # What changed meanwhile may be missing in it.
                if log.version == version:
                    log.page = page

    def back_from(self, camera: str, number: int) -> Iterator[Segment]:
        """A camera's segments up to and with this number, the highest first."""
        with self._lock:
            log = self._logs.get(camera)
            if log is None:
                return
            unwritten = set(log.unwritten)
            newest = [of if of.sealed else of.now() for of in log.in_memory() if of.number <= number]
            last = min(number, log.last_indexed)
        yield from merge(reversed(newest), self._indexed_back(camera, last, unwritten), key=lambda of: -of.number)

    def captured_between(self, camera: str, from_us: int, to_us: int) -> list[Segment]:
        """A camera's segments that hold frames captured from ``from_us`` on and before ``to_us``, by capture time;
        those whose files are gone are among them.
        """
        with self._lock:
            log = self._logs.get(camera)
            if log is None:
                return []
            unwritten = set(log.unwritten)
            newest = [of if of.sealed else of.now() for of in log.in_memory()]
        with index_answers():
            rows = self._index.captured_between(camera, from_us, to_us)
        found = [of for of in newest if of.first_capture_us < to_us and of.last_capture_us >= from_us]
        # What was sealed meanwhile is in both.
        known = unwritten.union(of.number for of in found)
        found += [sound_segment(row) for row in rows if row.number not in known]
        return sorted(found, key=lambda of: (of.first_capture_us, of.number))

    def holder(self, camera: str, epoch: int, sequence: int) -> Segment | None:
        """The segment that holds a record, as it is now."""
        with self._lock:
            log = self._logs.get(camera)
            if log is None or not log.holds(epoch, sequence):
                return None
            for segment in log.in_memory():
                if segment.epoch == epoch and sequence in segment.sequences:
                    return segment if segment.sealed else segment.now()
            unwritten = set(log.unwritten)
        with index_answers():
            return self._index.holder(camera, epoch, sequence, unwritten)

    def bytes_after(self, camera: str, position: Position) -> int:
        """Bytes of records that follow a position."""
        with self._lock:
            log = self._logs.get(camera)
            if log is None:
                return 0
            before, total = log.backlog, log.bytes
        # What was counted last, less what was read since, and more what came: months of segments are counted once.
        if before is None or position.segment < before.number:
            count = self._bytes(camera, log, position.segment, MAX_NUMBER)
        else:
            read = self._bytes(camera, log, before.number, position.segment - 1)
            count = before.bytes - read + total - before.total
        with self._lock:
            log.backlog = Backlog(position.segment, count, total)
        first = self.first_from(camera, position.segment) if position.offset else None
        return count - position.offset if first is not None and first.number == position.segment else count

    def _bytes(self, camera: str, log: CameraLog, first: int, last: int) -> int:
        """Size of the segments from number ``first`` to ``last``, both included."""
        with self._lock:
            in_memory = sum(of.size for of in log.in_memory() if first <= of.number <= last)
            last = min(last, log.last_indexed)
            unwritten = SequenceSet((number, number) for number in log.unwritten if first <= number <= last)
        if last < first:
            return in_memory
        with index_answers():
            stale = sum(self._index.bytes(camera, *numbers) for numbers in unwritten)
            return in_memory + self._index.bytes(camera, first, last) - stale

    def _page(self, camera: str, number: int, last: int, unwritten: Container[int]) -> Page:
        """The page of the index that begins with a number, and has a segment if there is one from there on."""
        first, found = number, list[Segment]()
        while True:
            with index_answers():
                rows = self._index.following(camera, number, _PAGE)
            found += [sound_segment(row) for row in rows if row.number not in unwritten]
            if len(rows) < _PAGE:
                return Page(first, max(first, last) + 1, found)
            number = rows[-1].number + 1
            if found:
                return Page(first, number, found)

    def _indexed_back(self, camera: str, number: int, unwritten: Container[int]) -> Iterator[Segment]:
        while True:
            with index_answers():
                rows = self._index.preceding(camera, number, _PAGE)
            yield from (sound_segment(row) for row in rows if row.number not in unwritten)
            if len(rows) < _PAGE:
                return
            number = rows[-1].number - 1


@contextmanager
def index_answers() -> Iterator[None]:
    """Replaces the database's own errors.

    Raises:
        StorageError: in the place of the database's own errors.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise StorageError(f"cannot read the index of segments in the database: {trouble(error)}") from None
