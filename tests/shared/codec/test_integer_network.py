"""The integer network: exact, whatever computes it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.codec.bundle import Bundle
from shared.codec.integer_network import ACTIVATION_MAX, EXACT_LIMIT, IntegerLayer, IntegerNetwork
from shared.codec.latents import HYPER_MAX
from shared.errors import BundleError


def reference(network: IntegerNetwork, hyper: NDArray[np.int8], level: int) -> tuple[NDArray[np.int64], ...]:
    """The network in 64-bit integers, a tap at a time."""
    x = hyper.astype(np.int64)
    for layer in network.layers:
        weights = layer.weights.astype(np.int64)
        shift = np.round(-np.log2(layer.shifts)).astype(np.int64)
        out, size = weights.shape[0], weights.shape[2]
        height, width = x.shape[1:]
        padded = np.pad(x, ((0, 0), (size // 2, size // 2), (size // 2, size // 2)))
        sums = np.repeat(layer.biases[level].astype(np.int64)[:, None, None], height, 1).repeat(width, 2)
        for row in range(size):
            for column in range(size):
                window = padded[:, row : row + height, column : column + width]
                sums = sums + np.einsum("oc,chw->ohw", weights[:, :, row, column], window)
        # Rounded half up: (2 sum / 2**s + 1) / 2, floored.
        x = (2 * sums + (1 << shift)[:, None, None]) >> (shift + 1)[:, None, None]
        if layer.clip:
            x = x.clip(0, ACTIVATION_MAX)
        if layer.upsample:
            blocks = x.reshape(out // 4, 2, 2, height, width).transpose(0, 3, 1, 4, 2)
            x = blocks.reshape(out // 4, 2 * height, 2 * width)
    return x[: network.latents], x[network.latents :].clip(0, 63)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 5), st.integers(0, 7))
def test_float32_gives_what_64_bit_integers_give(codec: Bundle, seed: int, rows: int, columns: int, level: int) -> None:
    network = codec.entropy.network
    hyper = np.random.default_rng(seed).integers(-HYPER_MAX, HYPER_MAX + 1, (64, rows, columns)).astype(np.int8)
    means, indexes = network(hyper, level)
    expected_means, expected_indexes = reference(network, hyper, level)
    assert (means == expected_means).all()
    assert (indexes == expected_indexes).all()


@pytest.mark.parametrize("value", [-HYPER_MAX, HYPER_MAX])
def test_the_extremes_stay_exact(codec: Bundle, value: int) -> None:
    hyper = np.full((64, 2, 2), value, np.int8)
    means, indexes = codec.entropy.network(hyper, 0)
    expected_means, expected_indexes = reference(codec.entropy.network, hyper, 0)
    assert (means == expected_means).all()
    assert (indexes == expected_indexes).all()


def test_no_partial_sum_of_the_shipped_network_leaves_the_exact_range(codec: Bundle) -> None:
    first, *rest = codec.entropy.network.layers
    bounds = [first.largest_sum(HYPER_MAX), *(layer.largest_sum(ACTIVATION_MAX) for layer in rest)]
    assert max(bounds) < EXACT_LIMIT


def test_a_network_that_could_leave_the_exact_range_is_refused() -> None:
    weights = np.full((4, 1, 1, 1), EXACT_LIMIT // HYPER_MAX + 1, np.float32)
    layer = IntegerLayer(weights, np.zeros((1, 4), np.float32), np.ones(4, np.float32), upsample=False, clip=False)
    with pytest.raises(BundleError, match="exactness ends"):
        IntegerNetwork([layer])


def test_a_network_survives_being_stored(codec: Bundle) -> None:
    network = codec.entropy.network
    again = IntegerNetwork.from_arrays(network.arrays())
    hyper = np.random.default_rng(1).integers(-9, 10, (64, 2, 3)).astype(np.int8)
    assert all((a == b).all() for a, b in zip(network(hyper, 3), again(hyper, 3), strict=True))
