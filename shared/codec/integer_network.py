"""The networks that turn what is known already into means and table indexes, in integers throughout.

ONNX Runtime computes it in float32 on the CPU, where convolutions are fast. As its weights and activations are whole
numbers and no partial sum can reach 2**24 (checked when it is made), every operation is exact and the order of
operations does not matter: every machine, thread count and optimisation gets the same integers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.codec.latents import LATENT_MAX
from shared.codec.transforms import Transform
from shared.errors import BundleError

ACTIVATION_MAX = 255
MEAN_STEPS = 8
"""Mean units per 1 of a latent."""
SCALE_COUNT = 64
NETWORK_INPUTS = ("known", "level")


class IntegerNetwork:
    """Convolutions in integers. Safe to call from several threads."""

    def __init__(self, model: Path | bytes, threads: int) -> None:
        """Loads the ONNX graph from a file or its bytes; always on the CPU.

        Raises:
            BundleError: it is no network that ONNX Runtime can run.
        """
        columns = _of_columns(model)
        self._takes_columns = columns is not None
        self._network = Transform(columns or model, threads, "cpu")

    def __call__(self, known: NDArray[np.generic], level: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Predicts latents.

        Args:
            known: whole numbers [B, C, rows, columns]; level: the quality level whose biases hold.

        Returns:
            Means int32[B, M, ...] in 1/8 and scale indexes uint8 of the same shape, 0..63.
        """
        known = known.astype(np.float32, copy=False)
        if self._takes_columns:
            columns = np.ascontiguousarray(known.reshape(len(known), -1).T)
            result = self._network(columns[None, :, None], np.array([level]))[0, :, 0].T[:, :, None, None]
        else:
            result = self._network(known, np.array([level]))
        means, indexes = np.split(result, 2, axis=1)
        limit = LATENT_MAX * MEAN_STEPS
        return np.clip(means, -limit, limit).astype(np.int32), np.clip(indexes, 0, SCALE_COUNT - 1).astype(np.uint8)


def _of_columns(model: Path | bytes) -> bytes | None:
    """A network of 3x3 neighbourhoods, [B, C, 3, 3], as one of columns, [1, 9C, 1, B]; None if it is of pictures.

    The numbers are the same; ONNX Runtime multiplies matrices three times as fast as it convolves many tiny pictures.

    Raises:
        BundleError: it is no ONNX network.
    """
    import onnx
    from onnx import numpy_helper

    try:
        loaded = onnx.load_model_from_string(model) if isinstance(model, bytes) else onnx.load(model)
    except Exception as error:
        # protobuf and onnx raise types of their own.
        name = "the network" if isinstance(model, bytes) else model
        raise BundleError(f"{name} cannot be read as an ONNX network: {error}") from None
    graph = loaded.graph
    first = next(node for node in graph.node if node.op_type == "Conv")
    weights = next(tensor for tensor in graph.initializer if tensor.name == first.input[1])
    filters = numpy_helper.to_array(weights)
    padded = any(pad for attribute in first.attribute if attribute.name == "pads" for pad in attribute.ints)
    if padded or filters.shape[2] == 1:
        return None
    weights.CopyFrom(numpy_helper.from_array(filters.reshape(len(filters), -1, 1, 1), weights.name))
    graph.input[0].type.tensor_type.shape.dim[1].dim_value = filters[0].size
    return bytes(loaded.SerializeToString())
