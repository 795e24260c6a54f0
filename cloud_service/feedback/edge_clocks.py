"""How far edges' clocks are from the cloud's: witnesses of the time that no jump of the cloud's own clock moves."""

from __future__ import annotations

import threading
from statistics import median

from icm.service.clock import Clock

FRESH_SECONDS = 3600.0
"""For how long what an edge's clock said counts."""
LEAST_EDGES = 2
"""How many must agree: one clock that is wrong is as likely as another."""
_SAME_MACHINE = ("ipv4:127.", "ipv6:[::1]", "ipv6:%5B::1%5D", "unix:", "unknown")


class EdgeClocks:
    """What edges' clocks said last, one an address. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._skews: dict[str, tuple[float, float]] = {}

    def note(self, peer: str, skew_seconds: float) -> None:
        """Takes what an edge said. One on this very machine has this machine's clock, and witnesses nothing.

        Args:
            peer: gRPC's name of where it calls from.
            skew_seconds: how far its clock is behind the cloud's.
        """
        if peer.startswith(_SAME_MACHINE):
            return
        with self._lock:
            self._skews[peer.rpartition(":")[0]] = self._clock.monotonic(), skew_seconds

    def skew_seconds(self) -> float | None:
        """How far edges' clocks are behind the cloud's, by their median; None if too few spoke of late."""
        since = self._clock.monotonic() - FRESH_SECONDS
        with self._lock:
            self._skews = {edge: said for edge, said in self._skews.items() if said[0] >= since}
            skews = [skew for _, skew in self._skews.values()]
        return median(skews) if len(skews) >= LEAST_EDGES else None
