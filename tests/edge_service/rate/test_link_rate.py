from __future__ import annotations

import pytest

from edge_service.rate.link_rate import LEAST_BITS_PER_SECOND, MOST_GROWTH, MOST_RISE, SHARE, UNUSED_GROWTH, LinkRate
from icm.service.clock import ManualClock

TARGET = 60_000.0
DELAY = 0.05


class Sender:
    """Sends a message every half a second over a link, and moves the rate ten times in that time."""

    def __init__(self, link: float) -> None:
        self.clock = ManualClock()
        self.rate = LinkRate(TARGET, self.clock)
        self.link = link
        self.waiting = 0
        self._free_at = 0.0
        self._on_the_way: list[tuple[float, int, float]] = []

    def run(self, seconds: float, bits_per_second: float | None = None) -> None:
        """Args: bits_per_second, what is sent; None for what the rate allows."""
        for step in range(round(20 * seconds)):
            now = self.clock.monotonic()
            if step % 10 == 0:
                spent = self.rate.bits_per_second if bits_per_second is None else bits_per_second
                size = int(spent / 16 * (0.5 + step // 10 % 3 / 2))
                self._free_at = max(self._free_at, now) + 8 * size / self.link
                self._on_the_way.append((self._free_at + DELAY, size, now))
                self.waiting += size
            while self._on_the_way and self._on_the_way[0][0] <= now:
                _, size, sent = self._on_the_way.pop(0)
                self.waiting -= size
                self.rate.acknowledged(size, sent)
            self.rate.update(self.waiting, 0.0)
            self.clock.advance(0.05)


def test_on_a_link_that_carries_the_target_it_is_the_target() -> None:
    sender = Sender(2 * TARGET)
    sender.run(20)
    assert (sender.rate.bits_per_second, sender.rate.limited) == (TARGET, False)


def test_it_falls_below_what_the_link_carries_within_seconds() -> None:
    sender = Sender(2 * TARGET)
    sender.run(20)
    sender.link = 30_000
    sender.run(5)
    assert sender.rate.limited
    assert sender.rate.lasting == pytest.approx(SHARE * 30_000, rel=0.1)
    assert sender.rate.backlog
    assert sender.rate.bits_per_second < sender.rate.lasting


def test_once_the_backlog_has_gone_all_of_the_lasting_rate_is_granted() -> None:
    sender = Sender(30_000)
    sender.run(30)
    assert sender.rate.lasting == pytest.approx(SHARE * 30_000, rel=0.15)
    assert sender.rate.bits_per_second > 0.9 * sender.rate.lasting


def test_it_comes_back_slowly_but_all_the_way() -> None:
    sender = Sender(30_000)
    sender.run(30)
    before, sender.link = sender.rate.lasting, 2 * TARGET
    sender.run(15)
    assert before < sender.rate.lasting <= before * (1 + MOST_RISE) ** 15
    sender.run(40)
    assert sender.rate.bits_per_second == TARGET


def test_a_rate_that_is_not_used_grows_little_as_nothing_shows_what_the_link_carries() -> None:
    sender = Sender(30_000)
    sender.run(30)
    sender.run(4, bits_per_second=3_000)
    before = sender.rate.lasting
    sender.run(10, bits_per_second=3_000)
    assert sender.rate.lasting == pytest.approx(before * (1 + UNUSED_GROWTH) ** 10, rel=0.01)
    assert UNUSED_GROWTH < MOST_GROWTH < MOST_RISE


def test_silence_is_no_news_of_the_link() -> None:
    sender = Sender(30_000)
    sender.run(30)
    sender.waiting += 1_000_000
    for _ in range(10):
        sender.clock.advance(10)
        sender.rate.update(sender.waiting, 0.0)
    assert sender.rate.bits_per_second == sender.rate.lasting > 0.8 * SHARE * 30_000


def test_a_link_that_carries_next_to_nothing_leaves_a_little() -> None:
    sender = Sender(30_000)
    sender.run(30)
    sender.link = 500
    sender.run(120)
    assert sender.rate.lasting == LEAST_BITS_PER_SECOND


def test_a_camera_that_gave_no_frames_for_a_day_goes_on_at_a_rate_within_its_target() -> None:
    sender = Sender(30_000)
    sender.run(30)
    before = sender.rate.lasting
    sender.clock.advance(86_400)
    sender.rate.acknowledged(100, sender.clock.monotonic())
    sender.rate.update(0, 0.0)
    assert before <= sender.rate.bits_per_second <= TARGET
