"""The integer networks: exact, whatever computes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from icm.codec.bundle.manifest import CONTEXT, MOTION, TEMPORAL
from icm.codec.bundle.shipped import SHIPPED_BUNDLES
from icm.codec.entropy.integer_network import IntegerNetwork
from icm.codec.entropy.neighbourhood import INPUT_MAX
from icm.codec.latents.latents import HYPER_MAX
from icm.errors import BundleError
from icm_bench.exactness.integer_reference import InIntegers, InSession, InTorch, layers_of
from icm_train.integer.network import EXACT_LIMIT, IntegerLayer, build_graph, check_exact

NETWORKS = [
    folder / name
    for folder in SHIPPED_BUNDLES
    for name in ("hyper_decoder.onnx", *CONTEXT, *TEMPORAL, *MOTION)
    if (folder / name).exists()
]
"""Each integer network of the bundles that ship."""
LARGEST_INPUT = max(HYPER_MAX, INPUT_MAX)


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def network(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture(scope="module")
def layers(network: Path) -> list[IntegerLayer]:
    return layers_of(network)


@pytest.fixture(scope="module")
def cases(layers: list[IntegerLayer]) -> list[tuple[NDArray[np.int8], NDArray[np.int64]]]:
    """Typical, extreme and worst inputs, each int8[1, C, h, w], and what 64-bit integers make of them at level 5."""
    random = np.random.default_rng(4)
    shape = (1, layers[0].weights.shape[1], 2, 3)
    typical = np.rint(random.laplace(0, 2, shape)).clip(-LARGEST_INPUT, LARGEST_INPUT)
    uniform = random.integers(-LARGEST_INPUT, LARGEST_INPUT + 1, shape)
    full = [np.full(shape, value) for value in (-LARGEST_INPUT, LARGEST_INPUT)]
    inputs = [x.astype(np.int8) for x in (typical, uniform, *full)] + hardest_inputs(layers, LARGEST_INPUT)
    reference = InIntegers(layers)
    return [(known, reference(known, 5)) for known in inputs]


def hardest_inputs(layers: list[IntegerLayer], largest: int) -> list[NDArray[np.int8]]:
    """Inputs that drive a partial sum of the first layer as far as it goes, up and down: int8[1, C, k, k] each."""
    hungriest = int(np.abs(layers[0].weights).sum((1, 2, 3)).argmax())
    aligned = np.where(layers[0].weights[[hungriest]] < 0, -largest, largest).astype(np.int8)
    return [aligned, -aligned]


@pytest.fixture
def torch_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("optimisation", list(onnxruntime.GraphOptimizationLevel.__members__))
def test_the_onnx_runtime_gives_what_64_bit_integers_give(
    network: Path, cases: list[tuple[NDArray[np.int8], NDArray[np.int64]]], threads: int, optimisation: str
) -> None:
    session = InSession(network, threads, getattr(onnxruntime.GraphOptimizationLevel, optimisation))
    for known, expected in cases:
        assert (session(known, 5) == expected).all()


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.usefixtures("torch_threads")
def test_torch_gives_what_64_bit_integers_give(
    layers: list[IntegerLayer], cases: list[tuple[NDArray[np.int8], NDArray[np.int64]]], threads: int
) -> None:
    torch.set_num_threads(threads)
    in_torch = InTorch(layers)
    for known, expected in cases:
        assert (in_torch(known, 5) == expected).all()


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    network=st.sampled_from(NETWORKS),
    batch=st.integers(1, 3),
    sides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    level=st.integers(0, 7),
    spread=st.sampled_from([1, 8, LARGEST_INPUT]),
)
def test_means_and_scales_are_the_same_in_64_bit_integers_whatever_goes_in(
    seed: int, network: Path, batch: int, sides: tuple[int, int], level: int, spread: int
) -> None:
    layers = layers_of(network)
    shape = (batch, layers[0].weights.shape[1], *sides)
    known = np.random.default_rng(seed).integers(-spread, spread + 1, shape).astype(np.int8)
    means, indexes = IntegerNetwork(network, 1, pointwise=network.name != "hyper_decoder.onnx")(known, level)
    expected_means, expected_indexes = np.split(InIntegers(layers)(known, level), 2, axis=1)
    assert (means == expected_means).all()
    assert (indexes == expected_indexes.clip(0, 63)).all()


def test_no_partial_sum_of_a_shipped_network_leaves_the_exact_range(layers: list[IntegerLayer]) -> None:
    check_exact(layers)


def test_a_network_that_could_leave_the_exact_range_is_refused() -> None:
    weights = np.full((4, 1, 1, 1), EXACT_LIMIT // HYPER_MAX + 1, np.int32)
    layer = IntegerLayer(weights, np.zeros((1, 4), np.int32), np.zeros(4, np.uint8), upsample=False, clip=False)
    with pytest.raises(BundleError, match="exactness ends"):
        build_graph([layer])
