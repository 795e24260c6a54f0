"""Values chosen by rate and distortion: never dearer than the nearest ones, which they become where bits are free."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from icm.codec.bundle.loading import Bundle
from icm.codec.entropy.coder import Prediction, new_coder
from icm.codec.entropy.quantisation import Quantiser
from icm.codec.entropy.tables import Tables


def tables_of(codec: Bundle) -> Tables:
    assert codec.motion is not None
    return codec.motion.differences.tables


def given(codec: Bundle, seed: int) -> tuple[NDArray[np.float32], Prediction]:
    """Random latents near random means, under random tables."""
    random, tables = np.random.default_rng(seed), tables_of(codec)
    means = random.integers(-5, 6, 4000).astype(np.int32)
    indexes = random.integers(0, len(tables), 4000).astype(np.int32)
    return (means + random.normal(0, 2, 4000)).astype(np.float32), Prediction(tables, means, indexes)


def bits(codec: Bundle, expected: Prediction, values: NDArray[np.int32]) -> int:
    coder = new_coder()
    expected.push(coder, values, tables_of(codec))
    return int(coder.num_valid_bits())


@pytest.mark.parametrize("worth", [0.05, 0.1155, 0.5])
def test_the_values_chosen_cost_less_than_the_nearest_ones(codec: Bundle, worth: float) -> None:
    wanted, expected = given(codec, 1)
    chosen, nearest = Quantiser(tables_of(codec))(wanted, expected, worth), np.rint(wanted).astype(np.int32)
    costs = [
        float(np.square(wanted - values).sum() + worth * bits(codec, expected, values)) for values in (chosen, nearest)
    ]
    assert costs[0] < costs[1]


def test_where_bits_are_worth_nothing_the_nearest_values_are_chosen(codec: Bundle) -> None:
    wanted, expected = given(codec, 2)
    chosen = Quantiser(tables_of(codec))(wanted, expected, 0)
    assert np.abs(chosen - wanted).max() <= 0.5


def test_where_bits_are_worth_all_what_is_expected_is_chosen(codec: Bundle) -> None:
    wanted, expected = given(codec, 3)
    chosen = Quantiser(tables_of(codec))(wanted, expected, 1e6)
    assert (chosen[expected.deterministic] == expected.expected[expected.deterministic]).all()
    assert bits(codec, expected, chosen) < bits(codec, expected, np.rint(wanted).astype(np.int32))
