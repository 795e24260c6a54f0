"""Rate control: which of a camera's frames are coded, at what quality and in what size.

A camera aims at a quality, and then every frame is coded at it; or at a bitrate. Then three things give way, in this
order, and come back in the opposite one:

1. *Frames a second.* Neighbouring frames of a camera tell a detector nearly the same, so leaving some out costs the
   least, and it takes effect at once and exactly: a frame is coded when the budget has recovered from the ones before.
2. *Quality*, once fewer frames than ``min_fps`` would be left. Every frame loses detail, and P records that follow a
   change cost more, so it moves in steps, rarely, and further up than it came from only when there is room to spare.
3. *Resolution*, once the lowest quality is not enough. Small things vanish for good, and an I record follows.

Where the target allows more than all frames at the quality that is wanted, quality rises above it; that is given up
first.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import floor, log
from statistics import median
from typing import Literal, NamedTuple

from edge_service.rate.link_rate import LinkRate
from edge_service.rate.token_bucket import TokenBucket
from icm.errors import SpoolError
from icm.service.clock import Clock

_log = logging.getLogger(__name__)

SCALES = (1.0, 0.75, 0.5)
"""Of a picture's sides."""
STEPS = 16
"""Quality moves by multiples of one in so many."""
LEVEL_FACTOR = 1.6
"""Bits of a record at a quality level against those a level below, about: 1.5 to 1.75 on clips of streets
(``icm-bench motion-modes``). What really comes is measured after."""
LEAST_STEP = 0.25
MOST_DOWN = 3.0
"""Quality levels that one decision lowers, at most. It goes all the way at once: a record after a change costs up to
three times its usual bits, but no more after a large one than after a small one."""
MOST_UP = 1.0
"""The same where it is raised; by the least step only on a link that carries less than the target, as the record after
it costs the more, the larger the change."""
DWELL_DOWN, DWELL_UP, DWELL_LIMITED = 1.0, 2.0, 6.0
"""Seconds from any decision to the next one that lowers or raises, or raises on a link that carries less than the
target: there what a change costs is missing elsewhere."""
RECENT_RECORDS, STEADY_RECORDS = 8, 30
"""The middle one of so many records is the usual one: of few to react soon, of many before more is spent."""
LEAST_RECORDS = 3
"""Coded since the last decision, before there is another."""
TOO_FEW = 0.65
"""Part of the frames that should be paid for, below which something is given up."""
SPARE = 1.15
"""How many times the frames that should be paid for are, so that something comes back."""
FILL = 0.97
"""The same for quality above what is wanted: here a frame left out now and then is no loss."""

Decision = Literal[
    "aim", "link_slower", "link_recovered", "quality_down", "quality_up", "scale_down", "scale_up"
]  # fmt: skip
DECISIONS: tuple[Decision, ...] = (
    "aim", "link_slower", "link_recovered", "quality_down", "quality_up", "scale_down", "scale_up",
)  # fmt: skip
"""aim: somebody set another target or quality; link_*: the link carries less than the target, or all of it again."""


@dataclass(frozen=True)
class RateTarget:
    """What a camera is to reach.

    Attributes:
        quality: the level of every frame, or with a target the level that is wanted.
        bits_per_second: the target; None for every frame at ``quality``, whatever that takes.
        min_fps: frames a second below which quality and resolution give way before more frames do.
    """

    quality: float
    bits_per_second: float | None = None
    min_fps: float = 2.0


class CodingParameters(NamedTuple):
    """How a frame is to be coded: quality level, and factor of its sides."""

    quality: float
    scale: float


@dataclass(frozen=True)
class RateState:
    """Where a camera stands.

    Attributes:
        aim: what it is to reach.
        target: bits a second that records may take now; 0 if nothing bounds them.
        quality: of the next frame.
        scale: of the next frame.
        frame_rate: frames a second that were coded lately.
    """

    aim: RateTarget
    target: float
    quality: float
    scale: float
    frame_rate: float


class RateControl:
    """One camera's. Thread-safe: the encoder asks, the uplink and the frame API tell.

    Attributes:
        waiting_bytes: of the camera's records that the cloud has not persisted yet; asks the spool.
    """

    def __init__(
        self,
        camera: str,
        aim: RateTarget,
        highest_quality: float,
        waiting_bytes: Callable[[], int],
        held_back_seconds: float,
        clock: Clock,
        decided: Callable[[Decision], None] = lambda decision: None,
    ) -> None:
        """Creates the rate control of a camera.

        Args:
            highest_quality: of the bundle.
            held_back_seconds: how long the uplink waits for records to share a message.
            decided: called with every decision.
        """
        self._camera, self._highest, self._clock = camera, highest_quality, clock
        self.waiting_bytes, self._held_back, self._decided = waiting_bytes, held_back_seconds, decided
        self._lock = threading.Lock()
        self._sizes: deque[int] = deque(maxlen=STEADY_RECORDS)
        self._offered: deque[float] = deque(maxlen=STEADY_RECORDS)
        self._coded: deque[float] = deque(maxlen=STEADY_RECORDS)
        self._budget = TokenBucket()
        self._earned = clock.monotonic()
        self._begin(aim)

    @property
    def state(self) -> RateState:
        """Where the camera stands now."""
        with self._lock:
            target = self._link.bits_per_second if self._link is not None else 0.0
            return RateState(self._aim, target, self._quality, SCALES[self._scale], _per_second(self._coded))

    def aim(self, aim: RateTarget) -> None:
        """Makes the camera reach something else from the next frame on."""
        with self._lock:
            self._begin(aim)
            asked = f"quality {aim.quality:g}"
            if aim.bits_per_second is not None:
                asked = f"{aim.bits_per_second / 1000:.1f} kbit/s, {asked} wanted"
            self._tell("aim", f"aims at {asked}")

    def next(self, owed: bool) -> CodingParameters | None:
        """How to code the frame that came now; None to leave it out.

        Args:
            owed: somebody waits for this very frame, so it must not be left out.
        """
        # Asked before the lock is taken: the disk may take its time, and the uplink must not wait for it.
        waiting = self._waiting()
        with self._lock:
            now = self._clock.monotonic()
            self._offered.append(now)
            if self._link is not None:
                if waiting is not None:
                    self._follow_link(self._link, waiting)
                self._budget.earn(self._link.bits_per_second, now - self._earned)
                self._earned = now
                self._adapt(self._link, now)
                # What follows a change costs more than usual, so more must have been saved up for it.
                if not (owed or (self._budget.full if self._changed else self._budget.open)):
                    return None
            return CodingParameters(self._quality, SCALES[self._scale])

    def coded(self, size: int) -> None:
        """The frame became a record of so many bytes."""
        with self._lock:
            self._coded.append(self._clock.monotonic())
            self._sizes.append(8 * size)
            self._since_decision += 1
            self._changed = False
            if self._link is not None:
                self._budget.spend(8 * size, self._link.bits_per_second)

    def acknowledged(self, size: int, sent: float) -> None:
        """The cloud is done with a message of so many bytes, sent at that moment, in monotonic seconds."""
        with self._lock:
            if self._link is not None:
                self._link.acknowledged(size, sent)

    def _begin(self, aim: RateTarget) -> None:
        now = self._clock.monotonic()
        self._aim = aim
        self._link = LinkRate(aim.bits_per_second, self._clock) if aim.bits_per_second is not None else None
        self._was_limited = self._changed = False
        self._quality, self._scale = aim.quality, 0
        self._sizes.clear()
        self._budget.forgive()
        self._earned = now
        self._decide(now)

    def _decide(self, now: float) -> None:
        self._decision_time, self._since_decision = now, 0

    def _waiting(self) -> int | None:
        """Bytes that wait; None without a target, or where the spool cannot tell, as whoever appends next will say."""
        try:
            return self.waiting_bytes() if self._link is not None else None
        except SpoolError:
            return None

    def _follow_link(self, link: LinkRate, waiting: int) -> None:
        link.update(waiting, self._held_back)
        if link.limited != self._was_limited:
            self._was_limited = link.limited
            if link.limited:
                self._tell("link_slower", f"the link carries less than is sent; {self._aim_text()} aimed at")
            else:
                self._tell("link_recovered", "the link carries the target again")

    def _adapt(self, link: LinkRate, now: float) -> None:
        """Moves quality and resolution, one of them by one decision, if it is time to."""
        since, rate = now - self._decision_time, link.lasting
        if self._since_decision < LEAST_RECORDS or since < DWELL_DOWN:
            return
        every = max(_per_second(self._offered), 1e-3)
        least = min(self._aim.min_fps, every)
        # Since the last decision only: before it, records were of another size.
        sizes = list(self._sizes)[-self._since_decision :]
        paid = rate / median(sizes[-RECENT_RECORDS:])
        wanted, quality = self._aim.quality, self._quality
        if quality > wanted and paid < TOO_FEW * every:
            self._set_quality(max(wanted, quality - _lower(every / paid)), paid, now)
        elif paid < TOO_FEW * least and quality > 0:
            self._set_quality(max(0.0, quality - _lower(least / paid)), paid, now)
        elif paid < TOO_FEW * least and self._scale < len(SCALES) - 1:
            self._set_scale(self._scale + 1, paid, now)
        elif since >= (DWELL_LIMITED if link.limited else DWELL_UP) and not link.backlog:
            most = LEAST_STEP if link.limited else MOST_UP
            self._raise(min(paid, rate / median(sizes)), least, every, most, now)

    def _raise(self, paid: float, least: float, every: float, most: float, now: float) -> None:
        """Takes back the last thing that was given up, if the rate pays for it with something to spare."""
        wanted, quality = self._aim.quality, self._quality
        if self._scale > 0:
            if paid * (SCALES[self._scale] / SCALES[self._scale - 1]) ** 2 > SPARE * least:
                self._set_scale(self._scale - 1, paid, now)
            return
        needed, ceiling = (SPARE * least, wanted) if quality < wanted else (FILL * every, self._highest)
        if quality < ceiling and paid > needed * LEVEL_FACTOR**LEAST_STEP:
            self._set_quality(min(ceiling, quality + min(most, _higher(paid / needed))), paid, now)

    def _set_quality(self, quality: float, paid: float, now: float) -> None:
        before, self._quality = self._quality, quality
        self._decide(now)
        self._changed = True
        self._tell(
            "quality_up" if quality > before else "quality_down",
            f"quality {before:g} -> {quality:g}: {self._aim_text()} pays for {paid:.1f} frames/s",
        )

    def _set_scale(self, scale: int, paid: float, now: float) -> None:
        before, self._scale = self._scale, scale
        self._decide(now)
        self._changed = True
        self._tell(
            "scale_up" if scale < before else "scale_down",
            f"scale {SCALES[before]:g} -> {SCALES[scale]:g}: {self._aim_text()} pays for {paid:.1f} frames/s",
        )

    def _aim_text(self) -> str:
        return f"{self._link.bits_per_second / 1000:.1f} kbit/s" if self._link is not None else "no target"

    def _tell(self, decision: Decision, text: str) -> None:
        _log.info("camera %s: rate control: %s", self._camera, text)
        self._decided(decision)


def _lower(ratio: float) -> float:
    """Quality levels to give up, of records that should be smaller by this factor."""
    return max(LEAST_STEP, min(MOST_DOWN, (floor(log(ratio, LEVEL_FACTOR) * STEPS) + 1) / STEPS))


def _higher(ratio: float) -> float:
    """Quality levels to take back, of records that may be larger by this factor."""
    return max(LEAST_STEP, floor(log(ratio, LEVEL_FACTOR) * STEPS) / STEPS)


def _per_second(moments: deque[float]) -> float:
    """How many there are in a second, by the middle one of the intervals between them; 0 of fewer than two."""
    intervals = [later - earlier for earlier, later in pairwise(moments)]
    return 1 / max(median(intervals), 1e-3) if intervals else 0.0
