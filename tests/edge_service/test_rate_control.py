"""Rate control against a camera and a link that are made up, on a clock that is moved."""

from __future__ import annotations

import logging
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_service.rate_control import SCALES, Aim, Choice, RateControl
from shared.clock import ManualClock

HIGHEST = 7.0
QUIET_BITS = 3000.0
"""Of a P record at level 0 while nothing moves."""
LEVEL = 1.45
I_FACTOR = 4
"""An I record against a P record; one follows every change."""
LATENCY_SECONDS = 0.05


@dataclass
class Simulation:
    """A camera of ``fps`` frames a second, whose records vary twofold with motion and by a sixth at random, and a link
    that carries ``link`` bits a second.

    Attributes:
        coded: when each record was made, in seconds, and its bits.
        waiting: bytes that the cloud did not acknowledge yet.
    """

    target: float | None
    fps: float = 10.0
    quality: float = 3.0
    min_fps: float = 2.0
    link: float = 1e9
    seed: int = 1
    clock: ManualClock = field(default_factory=ManualClock)
    coded: list[tuple[float, int]] = field(default_factory=list)
    decisions: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    away: bool = False

    def __post_init__(self) -> None:
        self.rate = RateControl(
            "gate", Aim(self.quality, self.target, self.min_fps), HIGHEST, lambda: self.waiting, 0.0, self.clock,
            lambda decision: self.decisions.update([decision]),
        )  # fmt: skip
        self._dice = random.Random(self.seed)
        self._motion, self._left_out = 1.0, 0
        self._last: Choice | None = None
        self._link_free = 0.0
        self._on_the_way: list[tuple[float, int, float]] = []

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * self.fps)):
            while self._on_the_way and self._on_the_way[0][0] <= self.now and not self.away:
                _, size, sent = self._on_the_way.pop(0)
                self.waiting -= size
                self.rate.acknowledged(size, self.now - sent)
            choice = self.rate.next(owed=False)
            if choice is None:
                self._left_out += 1
            else:
                self._code(choice)
            self.clock.advance(1 / self.fps)

    def bits_per_second(self, start: float, end: float) -> float:
        return sum(bits for time, bits in self.coded if start <= time < end) / (end - start)

    def _code(self, choice: Choice) -> None:
        if self._dice.random() < 0.02:
            self._motion = self._dice.uniform(1, 2)
        bits = QUIET_BITS * LEVEL**choice.quality * choice.scale**1.8 * self._motion * self._dice.uniform(0.85, 1.15)
        # The longer ago the last frame, the more has changed.
        bits *= 1 + 0.3 * self._left_out**0.5
        size = int(bits * (1 if choice == self._last else I_FACTOR) / 8)
        self._last, self._left_out = choice, 0
        self.rate.coded(size)
        self.coded.append((self.now, 8 * size))
        self.waiting += size
        self._link_free = max(self._link_free, self.now) + 8 * size / self.link
        self._on_the_way.append((self._link_free + LATENCY_SECONDS, size, self.now))


@settings(max_examples=12, deadline=None)
@given(target=st.floats(20_000, 350_000), fps=st.sampled_from([5.0, 10.0, 25.0]), seed=st.integers(0, 100))
def test_over_half_a_minute_the_bitrate_is_the_target_within_a_tenth(target: float, fps: float, seed: int) -> None:
    camera = Simulation(min(target, 35_000 * fps), fps, seed=seed)
    camera.run(80)
    assert camera.target is not None
    for start in (20, 35, 50):
        assert camera.bits_per_second(start, start + 30) == pytest.approx(camera.target, rel=0.1)


@settings(max_examples=12, deadline=None)
@given(link=st.floats(50_000, 300_000), seed=st.integers(0, 100))
def test_when_the_link_halves_the_rate_is_below_it_within_five_seconds_and_stays_near_it(
    link: float, seed: int
) -> None:
    camera = Simulation(0.95 * link, link=link, seed=seed)
    camera.run(40)
    camera.link = link / 2
    halved = camera.now
    while camera.rate.state.target > camera.link:
        camera.run(0.1)
        assert camera.now < halved + 5
    settled = camera.now
    camera.run(60)
    # What waited when the link became slow drains as well.
    assert 0.75 * camera.link < camera.bits_per_second(settled, settled + 30) < 1.05 * camera.link
    assert 0.75 * camera.link < camera.bits_per_second(settled + 30, settled + 60) < 1.05 * camera.link
    assert 8 * camera.waiting < 5 * camera.link


def test_once_the_link_carries_the_target_again_it_is_reached_again() -> None:
    camera = Simulation(60_000, link=64_000)
    camera.run(30)
    camera.link = 32_000
    camera.run(30)
    assert camera.rate.state.target < 40_000
    camera.link = 64_000
    camera.run(40)
    assert camera.rate.state.target == 60_000
    assert camera.decisions["link_slower"] == camera.decisions["link_recovered"] >= 1


def test_while_the_cloud_is_away_the_camera_goes_on_as_before() -> None:
    camera = Simulation(60_000)
    camera.run(30)
    camera.away = True
    camera.run(60)
    assert camera.rate.state.target == 60_000
    assert camera.bits_per_second(40, 90) == pytest.approx(60_000, rel=0.1)


def test_frames_give_way_first() -> None:
    camera = Simulation(35_000)
    camera.run(30)
    state = camera.rate.state
    assert (state.quality, state.scale) == (3, 1)
    assert 2 <= state.frame_rate < 10


def test_then_quality_gives_way_and_the_least_frames_go_on() -> None:
    camera = Simulation(15_000)
    camera.run(60)
    state = camera.rate.state
    assert 0 < state.quality < 3
    assert state.scale == 1
    assert len([time for time, _ in camera.coded if time >= 30]) >= 1.4 * 30


def test_resolution_gives_way_last() -> None:
    camera = Simulation(4_000)
    camera.run(90)
    assert (camera.rate.state.quality, camera.rate.state.scale) == (0, SCALES[-1])
    assert camera.bits_per_second(60, 90) == pytest.approx(4_000, rel=0.1)


def test_all_comes_back_in_the_opposite_order() -> None:
    camera = Simulation(60_000, link=64_000)
    camera.run(30)
    camera.link = 5_000
    camera.run(60)
    assert camera.rate.state.scale < 1
    camera.link = 64_000
    seen = []
    for _ in range(120):
        camera.run(1)
        seen.append(camera.rate.state)
    whole = next(index for index, state in enumerate(seen) if state.scale == 1)
    wanted = next(index for index, state in enumerate(seen) if state.quality == 3)
    assert all(state.quality == 0 for state in seen[:whole])
    assert whole < wanted
    assert seen[-1].frame_rate > seen[wanted].frame_rate


def test_room_beyond_all_frames_goes_into_quality() -> None:
    camera = Simulation(200_000, quality=2.0)
    camera.run(60)
    assert camera.rate.state.quality > 3
    assert camera.rate.state.frame_rate == pytest.approx(10)


def test_quality_does_not_swing_while_nothing_changes_but_motion() -> None:
    camera = Simulation(60_000)
    camera.run(300)
    assert camera.decisions["quality_up"] + camera.decisions["quality_down"] <= 6


def test_without_a_target_every_frame_is_coded_at_the_quality_asked_for() -> None:
    camera = Simulation(None, quality=4.5, link=1000)
    camera.run(20)
    assert len(camera.coded) == 200
    assert camera.rate.state.quality == 4.5
    assert not camera.decisions


def test_an_i_record_silences_the_camera_only_for_a_moment() -> None:
    camera = Simulation(60_000)
    camera.run(30)
    camera.rate.coded(60_000 // 8 * 5)
    resumed = camera.now
    camera.run(3)
    assert [time for time, _ in camera.coded if time > resumed]


def test_every_decision_is_one_line_in_the_log_that_says_why(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    camera = Simulation(15_000)
    camera.run(30)
    camera.rate.aim(Aim(1.0))
    assert len(caplog.messages) == camera.decisions.total()
    assert "camera gate: rate control: quality 3 -> " in caplog.messages[0]
    assert "15.0 kbit/s pays for " in caplog.messages[0]
    assert caplog.messages[-1] == "camera gate: rate control: told to reach quality 1"
