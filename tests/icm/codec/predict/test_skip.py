"""What an encoder holds: noise changes nothing, what moves is coded, nothing drifts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from icm.codec.predict.skip import RD_LAMBDA, SKIP_THRESHOLD_BITS, skip_decision

SHAPE = (32, 54)


def after(reference: np.ndarray, noise: float, seed: int = 0) -> np.ndarray:
    shift = np.random.default_rng(seed).uniform(-noise, noise, reference.shape)
    return (reference + shift).astype(np.float32)


@given(st.integers(0, 1000))
def test_changes_within_rounding_move_nothing(seed: int) -> None:
    reference = np.random.default_rng(seed).integers(-9, 10, SHAPE).astype(np.int16)
    values, updated = skip_decision(after(reference, 0.49, seed), reference)
    assert not updated.any()
    assert (values == reference).all()


def test_a_position_that_changed_much_is_coded_anew_and_others_stay() -> None:
    reference = np.zeros(SHAPE, np.int16)
    scaled = after(reference, 0.4)
    scaled[:8, 21] += 6
    values, updated = skip_decision(scaled, reference)
    assert np.argwhere(updated).tolist() == [[21]]
    assert (values[:8, 21] == np.rint(scaled[:8, 21])).all()


@given(st.integers(0, 1000), st.floats(0.1, 3))
def test_what_is_held_never_strays_further_than_the_threshold_allows(seed: int, noise: float) -> None:
    """Frame after frame, however long: the error of what the decoder holds is bounded, so nothing drifts."""
    held = np.zeros(SHAPE, np.int16)
    for step in range(5):
        scaled = after(np.zeros(SHAPE, np.int16), noise, seed + step)
        values, updated = skip_decision(scaled, held)
        held = values.astype(np.int16)
        excess = np.square(scaled - held) - np.square(scaled - np.rint(scaled))
        assert np.abs(excess[:, updated]).max(initial=0) == 0
        assert (excess.sum(0)[~updated] <= SKIP_THRESHOLD_BITS * RD_LAMBDA + 1e-3).all()


def test_an_error_that_is_not_worth_its_bits_is_left() -> None:
    reference = np.zeros(SHAPE, np.int16)
    scaled = np.zeros(SHAPE, np.float32)
    enough = int(SKIP_THRESHOLD_BITS * RD_LAMBDA) + 1
    scaled[:enough, 0] = scaled[: enough - 1, 40] = 1.0
    values, updated = skip_decision(scaled, reference)
    assert np.argwhere(updated).tolist() == [[0]]
    assert (values[:enough, 0] == 1).all()


@given(st.integers(0, 1000))
def test_moved_says_exactly_where_latents_differ(seed: int) -> None:
    reference = np.random.default_rng(seed).integers(-2, 3, SHAPE).astype(np.int16)
    values, updated = skip_decision(after(reference, 2.0, seed), reference)
    assert ((values != reference).any(0) == updated).all()


def rate_and_distortion(step: float) -> tuple[float, float]:
    """Bits and squared error of a Laplacian of variance 1 that is rounded to multiples of a step and coded ideally."""
    scale = np.sqrt(0.5)
    edges = (np.arange(-2000, 2001) - 0.5) * step
    below = np.where(edges < 0, 0.5 * np.exp(edges.clip(max=0) / scale), 1 - 0.5 * np.exp(-edges.clip(min=0) / scale))
    shares = np.diff(below)
    shares = shares[shares > 0]
    values = np.linspace(-20, 20, 400_001)
    density = np.exp(-np.abs(values) / scale) / (2 * scale)
    error = np.square(values - step * np.rint(values / step))
    return float(-(shares * np.log2(shares)).sum()), float((error * density).sum() * (values[1] - values[0]))


def slope(step: float) -> float:
    """Squared error, in steps, that one bit takes away, by moving the step a little."""
    (finer_bits, finer), (coarser_bits, coarser) = rate_and_distortion(0.99 * step), rate_and_distortion(1.01 * step)
    return (coarser - finer) / (finer_bits - coarser_bits) / step**2


def test_a_bit_is_worth_what_a_finer_uniform_quantiser_would_take_for_it() -> None:
    assert abs(slope(0.25) / RD_LAMBDA - 1) < 0.01
    # At few bits a value it is worth less; docs/codec.md says how much less.
    assert [round(slope(1 / sigma), 2) for sigma in (1, 0.5, 0.3)] == [0.11, 0.09, 0.06]
