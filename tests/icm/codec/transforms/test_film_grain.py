"""Grain over decoded pictures: as strong as it was asked to be, the same in every frame, and never wrapped around."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm.codec.latents.latents import QUALITY_STEPS
from icm.codec.transforms.film_grain import Grain

GREY = np.full((240, 320, 3), 128, np.uint8)


def test_without_deviations_the_picture_stays_as_it_is() -> None:
    assert Grain([]).over(GREY, 0) is GREY


@pytest.mark.parametrize(
    ("quality", "deviation"), [(0, 3.0), (QUALITY_STEPS, 2.0), (QUALITY_STEPS // 2, 2.5), (99, 2.0)]
)
def test_its_strength_is_that_of_the_quality(quality: int, deviation: float) -> None:
    added = Grain([3.0, 2.0]).over(GREY, quality).astype(float) - 128
    assert added.std() == pytest.approx(deviation, rel=0.05)
    assert abs(added.mean()) < 0.05


def test_it_has_no_colour_and_no_period_of_the_codecs_blocks() -> None:
    added = Grain([3.0]).over(GREY, 0).astype(float) - 128
    assert (added == added[:, :, :1]).all()
    blocks = added[:, :, 0].reshape(15, 16, 20, 16).mean((0, 2))
    assert np.abs(blocks).max() < 4.5 * 3.0 / np.sqrt(15 * 20)


def test_it_is_the_same_in_every_frame_and_at_the_same_place_in_a_smaller_one() -> None:
    whole = Grain([2.0]).over(GREY, 0)
    assert (Grain([2.0]).over(GREY, 0) == whole).all()
    assert (Grain([2.0]).over(GREY[:100, :50], 0) == whole[:100, :50]).all()


@given(st.integers(0, 255))
def test_black_and_white_do_not_wrap_around(value: int) -> None:
    even = np.full((64, 64, 3), value, np.uint8)
    added = Grain([3.0]).over(even, 0).astype(int) - value
    assert np.abs(added).max() < 20
