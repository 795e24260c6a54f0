"""Leases: what readers in this process are about to read stays for them, for a while.

A lease names a camera and a range of capture times. It lives a minute, and as long again each time that it is used;
deletion waits for it ten minutes at most.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from icm.service.clock import Clock

LEASE_SECONDS = 60.0
LONGEST_WAIT_SECONDS = 600.0


@dataclass
class Lease:
    """What one reader is about to read; times in microseconds since 1970, both included.

    Attributes:
        until: when it ends, by the monotonic clock.
        wanted_since: when something of it was to be deleted first; None if nothing was.
    """

    camera: str
    from_us: int
    to_us: int
    until: float
    wanted_since: float | None = None


class Leases:
    """All leases of this process. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._leases: list[Lease] = []

    @contextmanager
    def reading(self, camera: str, from_us: int, to_us: int) -> Iterator[Lease]:
        """What lies between two capture times stays while the block runs, as far as ``renew`` is called in time.

        Args:
            camera: whose.
            from_us: microseconds since 1970.
            to_us: likewise, included.
        """
        lease = Lease(camera, from_us, to_us, self._clock.monotonic() + LEASE_SECONDS)
        with self._lock:
            self._leases.append(lease)
        try:
            yield lease
        finally:
            with self._lock:
                self._leases = [other for other in self._leases if other is not lease]

    def renew(self, lease: Lease) -> None:
        """The reader still reads."""
        with self._lock:
            lease.until = self._clock.monotonic() + LEASE_SECONDS

    def extend(self, lease: Lease, from_us: int) -> None:
        """The reader needs what was captured from here on too, microseconds since 1970."""
        with self._lock:
            lease.from_us = min(lease.from_us, from_us)

    def keeps(self, camera: str, from_us: int, to_us: int) -> bool:
        """Whether a range may not be deleted just now. Who asks is going to."""
        now = self._clock.monotonic()
        kept = False
        with self._lock:
            for lease in self._leases:
                if lease.camera != camera or lease.from_us > to_us or lease.to_us < from_us or lease.until < now:
                    continue
                if lease.wanted_since is None:
                    lease.wanted_since = now
                kept = kept or now - lease.wanted_since < LONGEST_WAIT_SECONDS
        return kept
