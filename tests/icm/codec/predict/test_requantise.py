"""Rescaling latents from one quality to another gives the same integers on every machine."""

from __future__ import annotations

from decimal import Decimal, getcontext

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.codec.bundle.loading import Bundle
from icm.codec.latents.latents import LATENT_MAX, QUALITY_STEPS
from icm.codec.predict.requantise import _FRACTION_BITS, _POWERS, OCTAVE_STEPS, requantise

qualities = st.integers(0, 7 * 16)


def test_no_power_lies_so_near_to_a_half_that_two_machines_could_round_it_differently() -> None:
    getcontext().prec = 40
    for step, power in enumerate(_POWERS.tolist()):
        exact = Decimal(2) ** (Decimal(step) / OCTAVE_STEPS) * (1 << _FRACTION_BITS)
        assert abs(exact - power) < Decimal("0.5") - Decimal("0.00001")


@settings(max_examples=30)
@given(qualities, qualities, st.integers(0, 1000))
def test_the_result_is_the_value_times_the_ratio_of_the_gains(codec: Bundle, old: int, new: int, seed: int) -> None:
    channels = codec.entropy.latent_channels
    values = np.random.default_rng(seed).integers(-200, 201, (channels, 2, 3)).astype(np.int16)
    ratio = (codec.gains(new) / codec.gains(old))[:, None, None].astype(np.float64)
    expected = np.clip(values * ratio, -LATENT_MAX, LATENT_MAX)
    assert np.abs(requantise(values, codec.octaves, old, new) - expected).max() < 0.5 + 0.002 * np.abs(expected).max()


@given(qualities)
def test_the_same_quality_changes_nothing(codec: Bundle, quality: int) -> None:
    values = np.arange(codec.entropy.latent_channels, dtype=np.int16)[:, None, None]
    assert requantise(values, codec.octaves, quality, quality) is values


def test_the_largest_latents_stay_in_range(codec: Bundle) -> None:
    values = np.full((codec.entropy.latent_channels, 1, 1), -LATENT_MAX, np.int16)
    assert requantise(values, codec.octaves, 0, 7 * 16).min() >= -LATENT_MAX


@given(st.integers(-30, 30), st.integers(-LATENT_MAX, LATENT_MAX))
def test_a_ratio_of_any_number_of_octaves_is_a_shift_that_rounds_and_clips(octaves: int, value: int) -> None:
    ladder = np.array([[0], [octaves * OCTAVE_STEPS]], np.int32)
    magnitude = abs(value) * 2**octaves if octaves >= 0 else (abs(value) + 2 ** (-octaves - 1)) >> -octaves
    expected = min(magnitude, LATENT_MAX) * (-1 if value < 0 else 1)
    assert requantise(np.full((1, 1, 1), value, np.int16), ladder, 0, QUALITY_STEPS).item() == expected
