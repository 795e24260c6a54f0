from __future__ import annotations

import pytest

from edge_service.rate.link_estimator import LEAST_BUSY_SECONDS, LONG_SECONDS, RECENT_SECONDS, SLOWER, LinkEstimator
from icm.service.clock import ManualClock

DELAY = 0.1
LINK = 4000.0
"""Bytes a second."""


class Line:
    """Sends messages over a link of ``LINK`` bytes a second and tells the meter of each answer."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.meter = LinkEstimator(8 * 2 * LINK, self.clock)
        self._free_at = 0.0
        self._carries = LINK

    def carries(self, bytes_per_second: float) -> None:
        self._carries = bytes_per_second

    def send(self, *sizes: int, delay: float = DELAY) -> None:
        """All at once; returns when all are acknowledged."""
        sent = self.clock.monotonic()
        for size in sizes:
            self._free_at = max(self._free_at, sent) + size / self._carries
            self.clock.advance(self._free_at + delay - self.clock.monotonic())
            self.meter.acknowledged(size, sent)


@pytest.fixture
def line() -> Line:
    return Line()


def test_a_busy_link_shows_what_it_carries(line: Line) -> None:
    line.send(500, 3000, 700, 1200)
    assert line.meter.bottleneck_bandwidth() == pytest.approx(8 * LINK)


def test_a_link_that_is_mostly_free_does_not_show_what_it_carries(line: Line) -> None:
    for size in (300, 900, 600):
        line.send(size)
        line.clock.advance(0.5)
    line.send(100, int(0.9 * LEAST_BUSY_SECONDS * LINK))
    assert line.meter.bottleneck_bandwidth() is None


def test_what_it_carried_some_time_ago_says_nothing_of_now(line: Line) -> None:
    line.send(500, 3000, 700, 1200)
    line.clock.advance(RECENT_SECONDS + 0.1)
    assert line.meter.bottleneck_bandwidth() is None
    assert line.meter.acknowledged_rate == 0


def test_it_is_measured_over_a_long_time_as_packets_blur_where_messages_end(line: Line) -> None:
    for size in (3000, 5000) * 4:
        line.send(400, size)
    assert line.clock.monotonic() > RECENT_SECONDS
    early = 0.25
    line.send(400, 3000, delay=DELAY + early)
    line.send(3000, delay=DELAY - early)
    assert line.meter.bottleneck_bandwidth() == pytest.approx(8 * LINK, rel=0.05)


def test_a_link_that_became_slower_shows_it_within_the_recent_time(line: Line) -> None:
    for _ in range(4):
        line.send(400, 3000, 5000)
    assert line.clock.monotonic() < LONG_SECONDS
    line.carries(0.5 * SLOWER * LINK)
    line.send(400, 3000, 2000)
    assert line.meter.bottleneck_bandwidth() == pytest.approx(8 * 0.5 * SLOWER * LINK, rel=0.1)


def test_messages_of_different_sizes_tell_the_links_own_delay_from_the_time_that_bytes_take(line: Line) -> None:
    assert line.meter.propagation_delay == float("inf")
    for size in (400, 2000, 900, 3000, 1500, 600):
        line.send(size)
        line.clock.advance(0.5)
    assert line.meter.propagation_delay == pytest.approx(DELAY, abs=0.02)


def test_a_route_that_takes_longer_is_found_out_in_time(line: Line) -> None:
    for _ in range(40):
        for size in (400, 2000, 900):
            line.send(size)
    for _ in range(10):
        for size in (400, 2000, 900):
            line.send(size, delay=0.6)
    assert line.meter.propagation_delay == pytest.approx(0.6, abs=0.05)


def test_silence_is_counted_from_the_last_answer(line: Line) -> None:
    assert line.meter.silent_seconds == float("inf")
    line.send(100)
    line.clock.advance(4)
    assert line.meter.silent_seconds == pytest.approx(4)
