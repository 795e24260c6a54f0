"""The integer network: exact, whatever computes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper

from shared.codec.bundle import Bundle
from shared.codec.integer_network import ACTIVATION_MAX, NETWORK_INPUTS
from shared.codec.latents import HYPER_MAX
from shared.errors import BundleError
from training.integer_network import EXACT_LIMIT, IntegerLayer, build_graph, check_exact


@pytest.fixture(scope="module")
def layers(bundle: Path) -> list[IntegerLayer]:
    """The shipped network's layers, read back from its graph."""
    graph = onnx.load(bundle / "hyper_decoder.onnx").graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    produced = {name for node in graph.node for name in node.output}
    return [
        IntegerLayer(
            constants[f"weights{n}"].astype(np.int32),
            constants[f"biases{n}"].astype(np.int32),
            np.round(-np.log2(constants[f"shifts{n}"])).astype(np.uint8).ravel(),
            upsample=f"up{n}" in produced,
            clip=f"clipped{n}" in produced,
        )
        for n in range(4)
    ]


def reference(layers: list[IntegerLayer], hyper: NDArray[np.int8], level: int) -> NDArray[np.int64]:
    """The network in 64-bit integers, a tap at a time."""
    x = hyper.astype(np.int64)
    for layer in layers:
        out, size = layer.weights.shape[0], layer.weights.shape[2]
        height, width = x.shape[1:]
        padded = np.pad(x, ((0, 0), (size // 2, size // 2), (size // 2, size // 2)))
        sums = np.broadcast_to(layer.biases[level].astype(np.int64)[:, None, None], (out, height, width))
        for row in range(size):
            for column in range(size):
                window = padded[:, row : row + height, column : column + width]
                sums = sums + np.einsum("oc,chw->ohw", layer.weights[:, :, row, column].astype(np.int64), window)
        # Rounded half up: floor((2 sum / 2**s + 1) / 2).
        shifts = layer.shifts.astype(np.int64)[:, None, None]
        x = (2 * sums + (1 << shifts)) >> (shifts + 1)
        if layer.clip:
            x = x.clip(0, ACTIVATION_MAX)
        if layer.upsample:
            blocks = x.reshape(out // 4, 2, 2, height, width).transpose(0, 3, 1, 4, 2)
            x = blocks.reshape(out // 4, 2 * height, 2 * width)
    return x


def split(result: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    means, indexes = np.split(result, 2)
    return means, indexes.clip(0, 63)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 5), st.integers(0, 7))
def test_float32_gives_what_64_bit_integers_give(
    codec: Bundle, layers: list[IntegerLayer], seed: int, rows: int, columns: int, level: int
) -> None:
    hyper = np.random.default_rng(seed).integers(-HYPER_MAX, HYPER_MAX + 1, (64, rows, columns)).astype(np.int8)
    (means,), (indexes,) = codec.entropy.network(hyper[None], level)
    expected_means, expected_indexes = split(reference(layers, hyper, level))
    assert (means == expected_means).all()
    assert (indexes == expected_indexes).all()


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("optimisation", list(onnxruntime.GraphOptimizationLevel.__members__))
def test_threads_and_optimisations_change_nothing(
    bundle: Path, layers: list[IntegerLayer], threads: int, optimisation: str
) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, optimisation)
    session = onnxruntime.InferenceSession(str(bundle / "hyper_decoder.onnx"), options, ["CPUExecutionProvider"])
    hyper = np.random.default_rng(4).integers(-HYPER_MAX, HYPER_MAX + 1, (64, 3, 4)).astype(np.int8)
    (result,) = session.run(
        None, dict(zip(NETWORK_INPUTS, (hyper[None].astype(np.float32), np.array([5])), strict=True))
    )
    assert (result[0] == reference(layers, hyper, 5)).all()


@pytest.mark.parametrize("value", [-HYPER_MAX, HYPER_MAX])
def test_the_extremes_stay_exact(codec: Bundle, layers: list[IntegerLayer], value: int) -> None:
    hyper = np.full((64, 2, 2), value, np.int8)
    (means,), (indexes,) = codec.entropy.network(hyper[None], 0)
    expected_means, expected_indexes = split(reference(layers, hyper, 0))
    assert (means == expected_means).all()
    assert (indexes == expected_indexes).all()


def test_no_partial_sum_of_the_shipped_network_leaves_the_exact_range(layers: list[IntegerLayer]) -> None:
    check_exact(layers)


def test_a_network_that_could_leave_the_exact_range_is_refused() -> None:
    weights = np.full((4, 1, 1, 1), EXACT_LIMIT // HYPER_MAX + 1, np.int32)
    layer = IntegerLayer(weights, np.zeros((1, 4), np.int32), np.zeros(4, np.uint8), upsample=False, clip=False)
    with pytest.raises(BundleError, match="exactness ends"):
        build_graph([layer])
