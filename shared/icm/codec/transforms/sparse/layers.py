"""A layer of a network at chosen positions only: their neighbourhoods are gathered and multiplied as one matrix.

The layers are made from the weights in a bundle's own networks, so they compute what those compute, up to the order
of floating-point sums.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm.codec.transforms.networks import Transform
from icm.errors import BundleError

_OPSET, _IR = 17, 8
ROWS_AT_ONCE = 1024
"""Of one call: bounds the memory that gathered neighbourhoods take, and keeps them in the cache."""
_MOST_THREADS = 4
"""Each layer has threads of its own, and its matrices are too small for more."""


def read_weights(model: Path) -> dict[str, NDArray[np.float32]]:
    """The named weights and biases of a network, without the name of the network itself in front.

    Raises:
        BundleError: the file is no ONNX network.
    """
    # Imported where it is used, here and below: it takes half a second, and most commands never come here.
    import onnx
    from onnx import numpy_helper

    try:
        graph = onnx.load(model).graph
    except Exception as error:
        # protobuf and onnx raise types of their own.
        raise BundleError(f"{model} cannot be read as an ONNX network: {error}") from None
    return {tensor.name.partition(".")[2]: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def weights_named(weights: Mapping[str, NDArray[np.float32]], name: str, model: Path) -> NDArray[np.float32]:
    """Returns the weights of this name.

    Raises:
        BundleError: the network has none of this name.
    """
    if name not in weights:
        raise BundleError(f"{model} has no weights named {name!r}: it is not of the architecture this version knows")
    return weights[name]


def around(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kernels float32[N, C, k, k] -> the matrix float32[k * k * C, N] for neighbourhoods row by row."""
    out, _, _, _ = weights.shape
    return np.ascontiguousarray(weights.transpose(2, 3, 1, 0).reshape(-1, out))


class RowNetwork:
    """A small ONNX network over chosen positions: of gathered rows, and others beside them, it makes a row each.

    Safe to call from several threads.
    """

    def __init__(
        self,
        nodes: list[Any],
        inputs: list[Any],
        result: str,
        width: int,
        constants: Mapping[str, NDArray[Any]],
        threads: int,
    ) -> None:
        """Creates a network from the nodes of its ONNX graph.

        Args:
            nodes: of the ONNX graph.
            inputs: of the ONNX graph; the first ones are ``source`` and ``index``, as in ``__call__``.
            result: name of the rows that the graph makes.
            width: of those rows.
            threads: CPU threads of one call; 0 for one per core.
        """
        from onnx import TensorProto, helper, numpy_helper

        graph = helper.make_graph(
            nodes,
            "rows",
            inputs,
            [helper.make_tensor_value_info(result, TensorProto.FLOAT, ["rows", width])],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        self._transform = Transform(
            model.SerializeToString(), min(threads or os.cpu_count() or 1, _MOST_THREADS), "cpu"
        )

    def __call__(
        self, source: NDArray[np.float32], index: NDArray[np.int64], *beside: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """source float32[P, C], index int64[n, taps], others float32[n, ...] -> float32[n, width]."""
        if len(index) <= ROWS_AT_ONCE:
            return self._transform(source, index, *beside)
        parts = range(0, len(index), ROWS_AT_ONCE)
        chosen = [slice(start, start + ROWS_AT_ONCE) for start in parts]
        return np.concatenate([self._transform(source, index[s], *(one[s] for one in beside)) for s in chosen])


class RowLayer:
    """y = max(x W + b + r, 0) at chosen positions, where x are gathered rows and r is optional, as is the maximum.

    Safe to call from several threads.
    """

    def __init__(
        self,
        matrix: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
        threads: int,
        taps: int,
        relu: bool = False,
        added: bool = False,
    ) -> None:
        """Creates a layer from its matrix and bias.

        Args:
            matrix: float32[taps * C, N].
            bias: float32[N].
            threads: CPU threads of one call; 0 for one per core.
            taps: positions gathered for each row of the result.
            relu: whether negative results become 0.
            added: whether rows are added before that.
        """
        from onnx import TensorProto, helper

        width, out = matrix.shape
        constants: dict[str, NDArray[Any]] = {"matrix": matrix, "flat": np.array([-1, width], np.int64)}
        inputs = [
            helper.make_tensor_value_info("source", TensorProto.FLOAT, ["positions", width // taps]),
            helper.make_tensor_value_info("index", TensorProto.INT64, ["rows", taps]),
        ]
        gemm = ["neighbourhoods", "matrix"]
        if bias is not None:
            constants["bias"] = bias
            gemm.append("bias")
        nodes = [
            helper.make_node("Gather", ["source", "index"], ["gathered"]),
            helper.make_node("Reshape", ["gathered", "flat"], ["neighbourhoods"]),
            helper.make_node("Gemm", gemm, ["products"]),
        ]
        last = "products"
        if added:
            inputs.append(helper.make_tensor_value_info("added", TensorProto.FLOAT, ["rows", out]))
            nodes.append(helper.make_node("Add", [last, "added"], ["sums"]))
            last = "sums"
        if relu:
            nodes.append(helper.make_node("Relu", [last], ["rectified"]))
            last = "rectified"
        self._network = RowNetwork(nodes, inputs, last, out, constants, threads)
        self.squares: NDArray[np.float32] = np.square(matrix).reshape(taps, -1, out).sum(0)
        """float32[C, N]: the variance of a result for a unit of variance in a feature, everywhere."""

    def __call__(
        self, source: NDArray[np.float32], index: NDArray[np.int64], added: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """source float32[P, C], index int64[n, taps], added float32[n, N] -> float32[n, N]."""
        return self._network(source, index) if added is None else self._network(source, index, added)

    def dense(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[n, C] -> float32[n, N], for a layer of one tap and nothing added."""
        return self(rows, np.arange(len(rows))[:, None])
