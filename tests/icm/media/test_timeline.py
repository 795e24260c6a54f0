"""Times rise, whatever the stamps."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm.media.timeline import LiveTimeline, Timeline

STAMPS = st.none() | st.integers(-(2**40), 2**40) | st.integers(-20, 60)
UNITS = st.sampled_from([Fraction(1, 10), Fraction(1, 1000), Fraction(1, 90_000), Fraction(1)])
RATES = st.sampled_from([Fraction(25), Fraction(1, 60), Fraction(1, 3600), Fraction(30_000, 1001)])


@given(st.lists(st.tuples(STAMPS, STAMPS, st.none() | st.integers(0, 10)), max_size=30), UNITS, RATES, st.booleans())
def test_times_of_a_file_rise_from_zero_whatever_its_stamps(
    packets: list[tuple[int | None, int | None, int | None]], unit: Fraction, rate: Fraction, restarts: bool
) -> None:
    line = Timeline(unit, 1 / rate, restarts, 60.0, lambda *_: None)
    times = [line.frame(*line.packet(*packet)) for packet in packets]
    assert times[:1] == [0] * len(times[:1])
    assert all(a < b for a, b in pairwise(times))


def test_one_damaged_stamp_of_showing_does_not_carry_the_others_with_it() -> None:
    line = Timeline(Fraction(1, 10), Fraction(1, 10), True, 60.0, lambda *_: None)
    stamps = [(number, number, 1) for number in range(10)]
    stamps[4] = (4000, 4, 1)
    assert [line.frame(*line.packet(*stamp)) for stamp in stamps] == [100_000 * number for number in range(10)]


def test_one_frame_that_falls_back_does_not_carry_the_others_with_it() -> None:
    line = Timeline(Fraction(1, 10), Fraction(1, 10), False, 60.0, lambda *_: None)
    stamps = [0, 1, 2, 52, 53, 3, 54, 55]
    times = [line.frame(stamp, None) for stamp in stamps]
    assert times == [100_000 * stamp for stamp in (0, 1, 2, 52, 53)] + [5_400_000, 5_450_000, 5_500_000]


def test_a_jump_back_of_which_packets_showed_nothing_is_closed() -> None:
    line = Timeline(Fraction(1, 10), Fraction(1, 10), False, 60.0, lambda *_: None)
    times = [line.frame(stamp, None) for stamp in (100, 101, 102, 3, 4, 5, 6)]
    assert times == [100_000 * number for number in range(7)]


def test_a_frame_that_is_coded_before_a_pause_and_shown_after_it_keeps_the_pause() -> None:
    line = Timeline(Fraction(1, 10), Fraction(1, 10), False, math.inf, lambda *_: None)
    packets = [(0, 0), (36_000, 1), (1, 2), (2, 3)]
    assert [line.packet(pts, dts, 1)[0] for pts, dts in packets] == [0, 36_000, 1, 2]


@pytest.mark.parametrize("stamp", [None, 0, 7])
def test_frames_without_stamps_or_with_a_clock_that_stands_still_are_an_interval_apart(stamp: int | None) -> None:
    line = Timeline(Fraction(1, 1000), Fraction(1, 10), False, 60.0, lambda *_: None)
    assert [line.frame(*line.packet(stamp, stamp, None)) for _ in range(5)] == [100_000 * number for number in range(5)]


@given(
    st.lists(
        st.tuples(st.floats(0, 30), st.none() | st.floats(-1e6, 1e6), st.sampled_from([0.0] * 8 + [-7200.0, 86_400.0])),
        max_size=30,
    )
)
def test_times_of_a_camera_rise_and_lie_in_the_past_whatever_its_stamps_and_the_clock(
    packets: list[tuple[float, float | None, float]],
) -> None:
    line, now_us, last = LiveTimeline(), 10**15, 0
    for passed, pts, clock_set in packets:
        now_us += round((passed + clock_set) * 1e6)
        capture_us = line.frame(line.packet(now_us, pts), now_us)
        assert capture_us <= now_us
        assert capture_us > last or last >= now_us
        last = capture_us


@pytest.mark.parametrize("rate", [0.9995, 1.0, 1.0005])
def test_frames_lie_as_far_apart_as_the_camera_says_while_the_network_jitters_and_the_clocks_drift(rate: float) -> None:
    line, random = LiveTimeline(), np.random.default_rng(1)
    times = []
    for number in range(3000):
        sent = number / 10
        late = float(random.exponential(0.05)) + 4.0 * (1000 <= number < 1005)
        times.append(line.packet(round((1e9 + sent + late) * 1e6), 77 + sent * rate) / 1e6 - 1e9)
    assert np.diff(times[100:]) == pytest.approx(0.1, abs=0.01)
    assert times[100:] == pytest.approx([number / 10 for number in range(100, 3000)], abs=0.1)
