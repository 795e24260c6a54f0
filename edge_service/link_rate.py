"""What the link to the cloud carries of one camera, told by the acknowledgements and by what waits in the spool."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import NamedTuple

from shared.clock import Clock

WINDOW_SECONDS = 2.0
"""Acknowledgements that are this old no longer count."""
CONGESTED_SECONDS = 0.5
"""Delay, beyond what one record takes by itself, that means that the link carries less than is sent."""
CALM_SECONDS = 0.25
"""The same, below which more may be sent."""
SHARE = 0.9
"""Part of what a congested link carries that new records may take; the rest empties the spool."""
GROWTH = 0.04
"""By how much the rate grows in a second while the link is calm."""
LEAST_BITS_PER_SECOND = 1000.0
_RECENT = 3
_DRIFT = 0.01
"""Seconds by which the link's own delay may grow in a second: routes change."""
_LEAST_BUSY_SECONDS = 0.05
"""In a window; less than that is the jitter of an idle link."""


class _Carried(NamedTuple):
    """An acknowledgement: when, of how many bytes, and for how long the link was busy with them, in seconds."""

    time: float
    size: int
    busy: float


class LinkRate:
    """Bits a second that new records may take, at most a target. Not thread-safe.

    A record that had to wait for the one before it occupies the link from that one's acknowledgement to its own, so
    acknowledgements show what a busy link carries. Once records take too long, the rate drops below that at once; once
    they do not, it grows slowly until the target is reached or they do again. Where no acknowledgements come, as while
    the cloud is away, there is no news of the link: the rate stays, and the spool takes what is coded.
    """

    def __init__(self, target: float, clock: Clock) -> None:
        """Args: target, in bits a second."""
        self._clock = clock
        self._target = self.bits_per_second = target
        self._carried: deque[_Carried] = deque()
        self._last = -inf
        self._latencies: deque[float] = deque(maxlen=_RECENT)
        self._own_delay = inf
        self._updated = clock.monotonic()

    @property
    def limited(self) -> bool:
        """Whether the link keeps the rate below the target."""
        return self.bits_per_second < self._target

    def acknowledged(self, size: int, seconds: float) -> None:
        """The cloud has persisted so many bytes; the first of them took so many seconds from when it was sent."""
        now = self._clock.monotonic()
        if self._last > -inf:
            self._own_delay += _DRIFT * (now - self._last)
        self._own_delay = min(self._own_delay, seconds)
        busy = min(now - self._last, seconds - self._own_delay)
        self._last = now
        self._carried.append(_Carried(now, size, busy))
        self._latencies.append(seconds)

    def update(self, waiting: int, usual_bits: float, held_back: float) -> None:
        """Moves the rate.

        Args:
            waiting: bytes of the camera's records that are not persisted yet.
            usual_bits: size of a record.
            held_back: seconds that the sender itself holds records back to send several at once.
        """
        now = self._clock.monotonic()
        elapsed, self._updated = now - self._updated, now
        while self._carried and now - self._carried[0].time > WINDOW_SECONDS:
            self._carried.popleft()
        delay = self._delay(8 * waiting, usual_bits, held_back)
        grown = min(self._target, self.bits_per_second * (1 + GROWTH) ** elapsed)
        if delay > CONGESTED_SECONDS:
            busy = sum(item.busy for item in self._carried)
            if busy > _LEAST_BUSY_SECONDS:
                carried = 8 * sum(item.size for item in self._carried) / busy
                self.bits_per_second = max(LEAST_BITS_PER_SECOND, min(grown, SHARE * carried))
        elif delay < CALM_SECONDS:
            self.bits_per_second = grown

    def _delay(self, waiting_bits: int, usual_bits: float, held_back: float) -> float:
        """Seconds beyond its own that a record takes: one that was acknowledged, or the last of those that wait."""
        if not self._latencies:
            return 0.0
        # A single large record takes longer on the best of links; the least of a few tells of the link.
        took = min(self._latencies) - self._own_delay
        waits = waiting_bits / self.bits_per_second - self._own_delay - held_back
        return max(took, waits) - usual_bits / self.bits_per_second
