from __future__ import annotations

from collections.abc import Callable

import pytest

from icm_bench.delivery.rate_control import Figures, Sample, figures

TARGET = 60_000.0
LINK = 36_000.0
"""Once it has halved, 60 s after the start."""


def found(late: Callable[[float], float], granted: Callable[[float], float]) -> Figures:
    """Args: late and granted, bits a second that are coded and granted so many seconds after the halving."""
    samples, coded = list[Sample](), 0.0
    for step in range(480):
        after = step / 4 - 60
        samples.append(
            Sample(
                seconds=step / 4,
                link=2 * LINK if after < 0 else LINK,
                target=TARGET if after < 0 else granted(after),
                coded=coded,
                waiting=9_000.0 if after < 0 else 90_000.0 / (1 + after),
                quality=3.0,
                frame_rate=4.0,
                scale=1.0,
            )
        )
        coded += (TARGET if after < 0 else late(after)) / 4
    return figures(samples, TARGET)


def test_a_camera_that_falls_below_its_link_after_two_seconds_has_settled_then() -> None:
    figures = found(lambda after: TARGET if after < 2 else 33_000, lambda after: TARGET if after < 1 else 33_000)
    assert figures.before == pytest.approx(1)
    assert figures.granted_seconds == pytest.approx(1, abs=0.25)
    assert 0.5 < figures.settled_seconds < 2
    assert figures.late_peak == pytest.approx(33 / 36)
    assert figures.after == pytest.approx(33 / 36)
    assert figures.most_waiting_seconds == pytest.approx(90 / 36)


def test_a_camera_that_exceeds_its_link_again_had_not_settled_and_the_peak_says_by_how_much() -> None:
    figures = found(lambda after: 45_000 if 30 < after <= 35 else 33_000, lambda after: 33_000)
    assert figures.granted_seconds == 0
    assert 28 < figures.settled_seconds < 35
    assert figures.late_peak == pytest.approx(45 / 36)


def test_a_camera_that_never_fits_its_link_never_settled() -> None:
    figures = found(lambda after: TARGET, lambda after: TARGET)
    assert figures.granted_seconds is None
    assert figures.settled_seconds is None
