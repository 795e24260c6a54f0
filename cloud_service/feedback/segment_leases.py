"""Leases of segments, for whoever reads records: with what these need before them to be decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cloud_service.feedback.leases import Leases
from cloud_service.store import RecordStore, Segment

Renew = Callable[[], None]
"""Says that a reader still reads. To be called at least once a minute."""


class SegmentLeases:
    """Takes leases of segments of one store. Thread-safe."""

    def __init__(self, leases: Leases, store: RecordStore) -> None:
        self._leases, self._store = leases, store

    @contextmanager
    def segment(self, segment: Segment) -> Iterator[Renew]:
        """A segment, and those that it needs, stay while the block runs.

        Raises:
            StorageError: the database does not answer.
        """
        with self._leases.reading(segment.camera, segment.first_capture_us, segment.last_capture_us) as lease:
            self._leases.extend(lease, self._needed_from(segment))
            yield lambda: self._leases.renew(lease)

    @contextmanager
    def stretch(self, camera: str, from_us: int, to_us: int) -> Iterator[Renew]:
        """What was captured in a stretch of time, and what that needs, stays while the block runs.

        Args:
            camera: whose.
            from_us: microseconds since 1970.
            to_us: likewise, not included.

        Raises:
            StorageError: the database does not answer.
        """
        with self._leases.reading(camera, from_us, to_us - 1) as lease:
            # Looked up under the lease: what is found now stays.
            found = self._store.captured_between(camera, from_us, to_us)
            if found:
                self._leases.extend(lease, self._needed_from(min(found, key=lambda segment: segment.number)))
            yield lambda: self._leases.renew(lease)

    def _needed_from(self, segment: Segment) -> int:
        """Capture time of the first frame that the segment's first one needs, microseconds since 1970."""
        start = self._store.segment(segment.camera, self._store.decodable_from(segment.camera, segment.number))
        return segment.first_capture_us if start is None else min(segment.first_capture_us, start.first_capture_us)
