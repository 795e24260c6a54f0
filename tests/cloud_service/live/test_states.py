"""Which cameras are late, which are silent, and at what pace frames go."""

from __future__ import annotations

import pytest

from cloud_service.feedback.arrivals import Arrival, Arrivals
from cloud_service.live.states import State, state_of
from cloud_service.live.watcher import Pace
from icm.frame_id import FrameId
from icm.service.clock import ManualClock

NOW_US, NOW = 1_790_000_000_000_000, 1000.0


@pytest.mark.parametrize(
    ("captured_ago", "arrived_ago", "interval", "state"),
    [
        (None, None, 0.0, State.EMPTY),
        (0.5, 0.2, 0.2, State.LIVE),
        (-3.0, 0.2, 0.2, State.LIVE),
        (4.9, 0.2, 0.2, State.LIVE),
        (5.1, 0.2, 0.2, State.LATE),
        (3600.0, 0.2, 0.2, State.LATE),
        (5.2, 5.1, 0.2, State.SILENT),
        (50.0, 49.0, 20.0, State.LIVE),
        (70.0, 40.0, 20.0, State.LATE),
        (62.0, 61.0, 20.0, State.SILENT),
        (7300.0, 7300.0, 3600.0, State.SILENT),
        (1.0, None, 0.0, State.LIVE),
        (60.0, None, 0.0, State.SILENT),
    ],
)
def test_a_camera_is_late_or_silent_by_what_is_usual_for_it(
    captured_ago: float | None, arrived_ago: float | None, interval: float, state: State
) -> None:
    captured_us = None if captured_ago is None else NOW_US - round(captured_ago * 1e6)
    arrival = None if arrived_ago is None else Arrival(NOW - arrived_ago, interval)
    told = state_of(captured_us, arrival, NOW_US, NOW)
    assert told.state is state
    assert told.age == (None if captured_ago is None else pytest.approx(max(0.0, captured_ago)))


def test_the_usual_interval_is_not_that_of_one_outage() -> None:
    clock = ManualClock()
    arrivals = Arrivals(clock)
    assert arrivals.last("gate") is None
    for sequence, wait in enumerate((0.5, 0.5, 600.0, 0.5, 0.5), 1):
        arrivals.note("gate", 1, sequence)
        clock.advance(wait)
    arrivals.note("gate", 1, 6)
    assert arrivals.last("gate") == Arrival(clock.monotonic(), 0.5)


def test_when_a_record_was_stored_is_known_of_the_newest() -> None:
    clock = ManualClock()
    arrivals = Arrivals(clock)
    times = {}
    for sequence in range(2, 202, 2):
        arrivals.note("gate", 1, sequence)
        times[sequence] = clock.now_us()
        clock.advance(1)
    assert arrivals.stored_us(FrameId("gate", 1, 200)) == times[200]
    assert arrivals.stored_us(FrameId("gate", 1, 199)) == times[200], "they came together"
    assert arrivals.stored_us(FrameId("gate", 1, 201)) is None, "not yet"
    assert arrivals.stored_us(FrameId("gate", 1, 2)) is None, "not any more"
    assert arrivals.stored_us(FrameId("gate", 2, 200)) is None
    assert arrivals.stored_us(FrameId("yard", 1, 2)) is None


def test_frames_go_evenly_and_one_that_is_a_little_early_is_let_pass() -> None:
    pace, sent = Pace(5), []
    for number in range(100):
        now = number * 0.1 + (0.03 if number % 4 else 0.0)
        if not pace.wait(now):
            pace.sent(now)
            sent.append(now)
    assert len(sent) == pytest.approx(50, abs=2)
    every = Pace(0)
    assert [every.wait(now) for now in (0.0, 0.0, 0.1)] == [0.0, 0.0, 0.0]
    assert Pace(0.01).wait(0.0) == 0.0
