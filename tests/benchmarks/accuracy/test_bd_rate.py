"""BD-rate: how many per cent more bits for the same worth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from icm_bench.accuracy.bd_rate import Curve, bd_rate, centred_interval, interval, overlap

ANCHOR = Curve(np.array([0.1, 0.2, 0.4, 0.8, 1.6]), np.array([0.10, 0.25, 0.35, 0.42, 0.45]))


def scaled(curve: Curve, factor: float) -> Curve:
    return Curve(curve.bpp * factor, curve.worth)


def test_a_curve_against_itself_is_zero() -> None:
    assert bd_rate(ANCHOR, ANCHOR) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.3])
def test_a_codec_that_needs_a_factor_of_the_bits_everywhere_has_that_rate(factor: float) -> None:
    assert bd_rate(ANCHOR, scaled(ANCHOR, factor)) == pytest.approx(100 * (factor - 1))


def test_points_may_come_in_any_order() -> None:
    order = np.array([3, 0, 4, 2, 1])
    assert bd_rate(ANCHOR, Curve(ANCHOR.bpp[order] / 2, ANCHOR.worth[order])) == pytest.approx(-50)


def test_a_point_that_costs_more_and_is_worth_no_more_does_not_count() -> None:
    wavering = Curve(np.append(ANCHOR.bpp, [0.9, 2.0]), np.append(ANCHOR.worth, [0.41, 0.45]))
    assert bd_rate(ANCHOR, wavering) == pytest.approx(0, abs=1e-9)


def test_curves_that_reach_no_worth_in_common_have_no_rate() -> None:
    better = Curve(ANCHOR.bpp, ANCHOR.worth + 0.4)
    assert math.isnan(bd_rate(ANCHOR, better))


def test_the_average_is_over_the_worth_that_both_reach() -> None:
    assert overlap(ANCHOR, Curve(ANCHOR.bpp, ANCHOR.worth + 0.1)) == pytest.approx((0.20, 0.45))


def test_an_interval_holds_the_middle_95_per_cent_and_leaves_out_what_is_not_defined() -> None:
    values = np.append(np.arange(1001.0), math.nan)
    assert interval(values) == pytest.approx((25, 975))
    assert all(math.isnan(end) for end in interval(np.array([math.nan])))


def test_an_interval_around_a_figure_turns_the_bias_of_the_samples_round() -> None:
    samples = 0.50 + np.linspace(-0.1, 0.1, 1001)  # samples lie 0.1 too high on the average
    assert centred_interval(0.40, samples) == pytest.approx((0.205, 0.395))
