"""When records of each camera were stored last, by which the live view tells who is silent."""

from __future__ import annotations

import threading
from collections import deque
from statistics import median
from typing import NamedTuple

from icm.frame_id import FrameId
from icm.service.clock import Clock

_REMEMBERED = 64
"""Commits of a camera whose times are known: a detector that lags further behind shows frames without them."""
_INTERVALS = 5


class Arrival(NamedTuple):
    """Of a camera's newest records.

    Attributes:
        at: when they were stored, in monotonic seconds.
        interval: the usual time between two commits of the camera, in seconds; 0 while that is not known.
    """

    at: float
    interval: float


class Arrivals:
    """What the ingest stored when, since this start of the cloud. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._cameras: dict[str, _Camera] = {}

    def note(self, camera: str, epoch: int, sequence: int) -> None:
        """A camera's records up to this one are on the disk."""
        now, now_us = self._clock.monotonic(), self._clock.now_us()
        with self._lock:
            of = self._cameras.setdefault(camera, _Camera())
            if of.at is not None:
                of.intervals.append(now - of.at)
            of.at = now
            of.commits.append((epoch, sequence, now_us))

    def last(self, camera: str) -> Arrival | None:
        """The newest records; None if none came since the start."""
        with self._lock:
            of = self._cameras.get(camera)
            if of is None or of.at is None:
                return None
            return Arrival(of.at, median(of.intervals) if of.intervals else 0.0)

    def stored_us(self, key: FrameId) -> int | None:
        """When a frame's record was on the disk, microseconds since 1970; None if that is not known any more."""
        with self._lock:
            of = self._cameras.get(key.camera)
            commits = list(of.commits) if of is not None else []
        earlier = False
        for epoch, sequence, at_us in commits:
            if epoch == key.epoch and sequence >= key.sequence:
                # The oldest commit that is known may have come after the record's own.
                return at_us if earlier or len(commits) < _REMEMBERED else None
            earlier = True
        return None


class _Camera:
    """What is known of one."""

    def __init__(self) -> None:
        self.at: float | None = None
        self.intervals: deque[float] = deque(maxlen=_INTERVALS)
        self.commits: deque[tuple[int, int, int]] = deque(maxlen=_REMEMBERED)
