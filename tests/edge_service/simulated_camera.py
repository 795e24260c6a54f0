"""A camera and a link that are made up, on a clock that is moved: what rate control is tested against."""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, field

from edge_service.rate.control import CodingParameters, RateControl, RateTarget
from icm.service.clock import ManualClock

HIGHEST = 7.0
QUIET_BITS = 3100.0
"""Of a P record at level 0 while nothing moves. This and what follows is as on a real clip of 768x576."""
LEVEL = 1.64
GAP = 0.31
"""The longer ago the last frame, the more has changed: bits grow with this power of the frames between."""
CHANGE, MOST_CHANGE, ALONE = 2.6, 3.7, 6.0
"""A record after a change of quality costs so much more for each level, up to so many times its usual bits; one after
a change of scale stands alone."""
MESSAGE_BYTES = 60
"""Framing of a message on the link, beside its records."""
PACKET_BYTES = 1500
"""What the link takes at a time: the end of one message and the beginning of the next may share one."""
_STEP_SECONDS = 0.01


@dataclass
class _Message:
    size: int
    left: float
    sent: float


@dataclass
class SimulatedCamera:
    """A camera of ``fps`` frames a second, whose records vary twofold with motion and by a sixth at random; an uplink
    that holds records back for ``held_back`` seconds to send several in a message; and a link that carries ``link``
    bits a second, packet after packet, and takes ``delay`` seconds to answer.

    Attributes:
        coded: when each record was made, in seconds, and its bits.
        waiting: bytes that the cloud did not acknowledge yet.
        away: while set, nothing is acknowledged.
        waited: at every frame, when it was, and the bits that waited.
    """

    target: float | None
    fps: float = 10.0
    quality: float = 3.0
    min_fps: float = 2.0
    link: float = 1e9
    delay: float = 0.08
    held_back: float = 0.5
    seed: int = 1
    clock: ManualClock = field(default_factory=ManualClock)
    coded: list[tuple[float, int]] = field(default_factory=list)
    decisions: Counter[str] = field(default_factory=Counter)
    waited: list[tuple[float, int]] = field(default_factory=list)
    waiting: int = 0
    away: bool = False

    def __post_init__(self) -> None:
        self.rate = RateControl(
            "gate", RateTarget(self.quality, self.target, self.min_fps), HIGHEST, lambda: self.waiting, self.held_back,
            self.clock, lambda decision: self.decisions.update([decision]),
        )  # fmt: skip
        self._dice = random.Random(self.seed)
        self._motion, self._left_out, self._next_frame = 1.0, 0, 0.0
        self._last: CodingParameters | None = None
        self._spooled: list[int] = []
        self._hold_until: float | None = None
        self._queue: deque[_Message] = deque()
        self._packet = self._left = 0.0
        self._answers: deque[tuple[float, _Message]] = deque()

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / _STEP_SECONDS)):
            self._answer()
            if self.now >= self._next_frame - 1e-9:
                self._next_frame += 1 / self.fps
                self._film()
            self._send()
            self._carry()
            self.clock.advance(_STEP_SECONDS)

    def bits_per_second(self, start: float, end: float) -> float:
        return sum(bits for time, bits in self.coded if start <= time < end) / (end - start)

    def _answer(self) -> None:
        while self._answers and self._answers[0][0] <= self.now and not self.away:
            message = self._answers.popleft()[1]
            self.waiting -= message.size
            self.rate.acknowledged(message.size, message.sent)

    def _film(self) -> None:
        choice = self.rate.next(owed=False)
        self.waited.append((self.now, 8 * self.waiting))
        if choice is None:
            self._left_out += 1
            return
        if self._dice.random() < 0.02:
            self._motion = self._dice.uniform(1, 2)
        bits = QUIET_BITS * LEVEL**choice.quality * choice.scale**1.8 * self._motion * self._dice.uniform(0.85, 1.15)
        bits *= (self._left_out + 1) ** GAP
        if self._last is None or choice.scale != self._last.scale:
            bits *= ALONE
        else:
            bits *= min(MOST_CHANGE, 1 + CHANGE * abs(choice.quality - self._last.quality))
        size = int(bits / 8)
        self._last, self._left_out = choice, 0
        self.rate.coded(size)
        self.coded.append((self.now, 8 * size))
        self.waiting += size
        self._spooled.append(size)

    def _send(self) -> None:
        if self._spooled and self._hold_until is None:
            self._hold_until = self.now + self.held_back
        if self._hold_until is not None and self.now >= self._hold_until:
            size = sum(self._spooled)
            self._queue.append(_Message(size, size + MESSAGE_BYTES, self.now))
            self._spooled.clear()
            self._hold_until = None

    def _carry(self) -> None:
        room = self.link / 8 * _STEP_SECONDS
        while room > 0 and (self._queue or self._packet):
            if not self._packet:
                self._packet = self._left = min(PACKET_BYTES, sum(message.left for message in self._queue))
            carried = min(room, self._left)
            self._left, room = self._left - carried, room - carried
            if self._left <= 0:
                self._arrive(self._packet)
                self._packet = 0

    def _arrive(self, size: float) -> None:
        while size > 0 and self._queue:
            message = self._queue[0]
            part = min(size, message.left)
            message.left, size = message.left - part, size - part
            if message.left <= 0:
                self._queue.popleft()
                self._answers.append((self.now + self.delay + self._dice.expovariate(100), message))
