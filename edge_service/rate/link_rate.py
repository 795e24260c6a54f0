"""What a camera's new records may take of the link to the cloud."""

from __future__ import annotations

from edge_service.rate.link_estimator import RECENT_SECONDS, LinkEstimator
from icm.service.clock import Clock

SHARE = 0.88
"""Part of what a busy link carries that new records may take. The rest is for framing, and keeps the queue short."""
MOST_RISE = 0.05
"""By how much the rate grows in a second, at most, towards what the link was seen to carry."""
MOST_GROWTH = 0.045
"""By how much it grows beyond that, to find out whether the link carries more by now."""
SURE_SECONDS, TRUSTED_SECONDS = 5.0, 20.0
"""It does not grow so soon after the link was seen to carry less, so fast only this long after, and slower between."""
USED = 0.75
"""Part of the rate that must be in use for it to grow like that: what nobody sends shows nothing of the link."""
UNUSED_GROWTH = 0.01
MOST_ELAPSED_SECONDS = 60.0
"""For so long at most the rate has grown when a camera that gave no frames gives one again."""
USUAL_WAIT_SECONDS = 0.5
"""How long records wait, beside the propagation delay and the sender's, where nothing is wrong."""
DRAIN_SECONDS = 5.0
"""In so many seconds what waits beyond that is given time to leave, as far as ``MOST_DRAIN`` allows."""
MOST_DRAIN = 0.3
"""Part of the rate that at most gives way for it: a backlog of hours must not silence a camera for hours."""
LEAST_BITS_PER_SECOND = 1000.0


class LinkRate:
    """Bits a second that new records may take, at most a target. Not thread-safe.

    The rate follows the link down as soon as acknowledgements show that it carries less, and up slowly. Where no
    acknowledgements come, as while the cloud is away, there is no news of the link: the rate stays, and the spool takes
    what is coded.

    Attributes:
        bits_per_second: the rate now.
        lasting: the rate without what gives way for a backlog, which is not worth a change of quality.
        backlog: whether more waits than usual.
    """

    def __init__(self, target: float, clock: Clock) -> None:
        """Starts at the target rate.

        Args:
            target: in bits a second.
        """
        self._clock = clock
        self._target = self.bits_per_second = self.lasting = target
        self.backlog = False
        self._meter = LinkEstimator(target / SHARE, clock)
        self._updated = self._seen = clock.monotonic()

    @property
    def limited(self) -> bool:
        """Whether the link keeps the rate below the target."""
        return self.lasting < self._target

    def acknowledged(self, size: int, sent: float) -> None:
        """The cloud is done with a message of so many bytes, sent at that moment, in monotonic seconds."""
        self._meter.acknowledged(size, sent)

    def update(self, waiting: int, held_back: float) -> None:
        """Moves the rate.

        Args:
            waiting: bytes of the camera's records that are not persisted yet.
            held_back: seconds that the sender itself holds records back to send several at once.
        """
        now = self._clock.monotonic()
        elapsed, self._updated = min(now - self._updated, MOST_ELAPSED_SECONDS), now
        if self._meter.silent_seconds > 2 * RECENT_SECONDS:
            self.bits_per_second = self.lasting
            return
        wait = 8 * waiting / self.lasting - self._meter.propagation_delay - held_back - USUAL_WAIT_SECONDS
        self.backlog = wait > 0
        bandwidth = self._meter.bottleneck_bandwidth()
        if bandwidth is not None:
            self._seen = now
            risen = self.lasting * (1 + MOST_RISE) ** elapsed
            self.lasting = max(LEAST_BITS_PER_SECOND, min(self._target, risen, SHARE * bandwidth))
        elif not self.backlog:
            self.lasting = min(self._target, self.lasting * (1 + self._growth(now)) ** elapsed)
            self._meter.carries(self.lasting / SHARE)
        drain = min(MOST_DRAIN, max(0.0, wait) / DRAIN_SECONDS) if self.limited else 0.0
        self.bits_per_second = self.lasting * (1 - drain)

    def _growth(self, now: float) -> float:
        """By how much the rate grows in a second while the link does not show what it carries."""
        if self._meter.acknowledged_rate < USED * self.lasting:
            return UNUSED_GROWTH
        trust = (now - self._seen - SURE_SECONDS) / (TRUSTED_SECONDS - SURE_SECONDS)
        return MOST_GROWTH * min(1.0, max(0.0, trust))
