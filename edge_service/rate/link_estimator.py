"""Estimates from acknowledgements: the bottleneck bandwidth of the link to the cloud, and its propagation delay."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from math import inf
from typing import NamedTuple

from icm.service.clock import Clock

LONG_SECONDS, RECENT_SECONDS = 20.0, 3.0
"""What is carried is measured over the long time, as where one message ends and the next begins is blurred by packets
that hold some of both; over the recent one if that shows that the link became slower."""
SLOWER = 0.8
"""Part of what the long time shows, below which the recent one counts alone."""
LEAST_BUSY_SECONDS, LEAST_SLOW_SECONDS = 0.5, 1.0
"""A link that was busy for less shows how soon it answers, or the jitter of that, not what it carries, or not that it
became slower."""
_FITTED = 16
"""The propagation delay is fitted to so many messages that found the link free."""
_TRUST = 0.1
"""How much weight the fit gives to the known bandwidth: as if the messages' sizes varied by this part of their mean
beyond what they do. Where all are alike, they say nothing of their own about how the time goes with the size."""
_DRIFT = 0.01
"""Seconds by which the propagation delay may have grown in each second without such a message: routes change."""


class _Message(NamedTuple):
    """Seconds from sending to acknowledgement, bytes, and the moments of the acknowledgement before and of its own."""

    took: float
    size: int
    before: float
    time: float

    @property
    def spacing(self) -> float:
        return self.time - self.before


class LinkEstimator:
    """Measures what the link carries of one camera. Not thread-safe.

    A message that waited for the one before it occupied the link from that one's acknowledgement to its own: so many
    bytes in so many seconds. One that found the link free took the propagation delay and its bytes' time; the
    propagation delay is what a message of no bytes would have taken. Each follows from the other: what took longer than
    its spacing and the propagation delay had waited.
    """

    def __init__(self, bandwidth: float, clock: Clock) -> None:
        """Creates an estimator that has seen no messages yet.

        Args:
            bandwidth: in bits a second, assumed of the link until it is measured.
        """
        self._clock = clock
        self._thought = bandwidth
        self._messages: deque[_Message] = deque()
        self._busy: deque[_Message] = deque()
        self._free: deque[_Message] = deque(maxlen=_FITTED)
        self._last = -inf

    def acknowledged(self, size: int, sent: float) -> None:
        """The cloud is done with a message of so many bytes, sent at that moment, in monotonic seconds."""
        now = self._clock.monotonic()
        message = _Message(now - sent, size, self._last, now)
        (self._busy if message.spacing < message.took - self.propagation_delay else self._free).append(message)
        self._messages.append(message)
        self._last = now

    def carries(self, bits_per_second: float) -> None:
        """The link does not show what it carries, but it is no less than this."""
        self._thought = max(self._thought, bits_per_second)

    @property
    def silent_seconds(self) -> float:
        """Since the last acknowledgement; infinite before the first."""
        return self._clock.monotonic() - self._last

    @property
    def acknowledged_rate(self) -> float:
        """Bits a second that were acknowledged lately."""
        self._forget()
        return _bits(self._recent(self._messages)) / RECENT_SECONDS

    def bottleneck_bandwidth(self) -> float | None:
        """Bits a second that the link carries; None while it is not busy enough to show it."""
        self._forget()
        recent = self._recent(self._busy)
        if _seconds(recent) >= LEAST_SLOW_SECONDS and _carried(recent) < SLOWER * _carried(self._busy):
            self._busy = deque(recent)
        if not recent or _seconds(self._busy) < LEAST_BUSY_SECONDS:
            return None
        self._thought = min(_carried(self._busy), self._carried_between())
        return self._thought

    def _carried_between(self) -> float:
        """What all messages took since the first that waited, the last one's acknowledgement being the end.

        Those that waited alone would show too much: one whose predecessor was answered late seems to have waited, and
        to have been carried fast.
        """
        start, end = self._busy[0].before, self._busy[-1].time
        between = [message for message in self._messages if start < message.time <= end]
        propagation_delay = self.propagation_delay
        seconds = sum(max(0.0, min(message.spacing, message.took - propagation_delay)) for message in between)
        return _bits(between) / seconds if seconds >= LEAST_BUSY_SECONDS else inf

    @property
    def propagation_delay(self) -> float:
        """Seconds that the acknowledgement of a message of no bytes takes; infinite before the first message.

        The line through time over size, by least squares, meets size 0 there.
        """
        free = self._free
        if not free:
            return inf
        size, took = (
            sum(message.size for message in free) / len(free),
            sum(message.took for message in free) / len(free),
        )
        trust = len(free) * (_TRUST * size) ** 2
        spread = sum((message.size - size) ** 2 for message in free)
        together = sum((message.size - size) * (message.took - took) for message in free)
        seconds_per_byte = max(0.0, (together + trust * 8 / self._thought) / (spread + trust))
        at_no_size = max(0.0, took - seconds_per_byte * size)
        return min(at_no_size, *(message.took for message in free)) + _DRIFT * (self._clock.monotonic() - free[-1].time)

    def _recent(self, messages: Iterable[_Message]) -> list[_Message]:
        now = self._clock.monotonic()
        return [message for message in messages if now - message.time <= RECENT_SECONDS]

    def _forget(self) -> None:
        for messages in (self._messages, self._busy):
            while messages and self._clock.monotonic() - messages[0].time > LONG_SECONDS:
                messages.popleft()


def _bits(messages: Iterable[_Message]) -> int:
    return 8 * sum(message.size for message in messages)


def _seconds(messages: Iterable[_Message]) -> float:
    return sum(message.spacing for message in messages)


def _carried(messages: Collection[_Message]) -> float:
    """Bits a second of messages that waited."""
    return _bits(messages) / max(_seconds(messages), 1e-6)
