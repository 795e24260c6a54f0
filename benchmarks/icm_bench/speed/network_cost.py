"""Multiplications that a network takes, counted from its graph, and how many a second this machine can do."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from icm.codec.transforms.networks import Transform

_MULTIPLIES = ("Conv", "Gemm", "MatMul")
_CHANNELS, _ROWS, _COLUMNS = 128, 64, 96
_TRIES = 20


def multiplications(network: Path, inputs: list[NDArray[np.generic]]) -> int:
    """Multiply-accumulates of one run on these inputs, in the graph's order; biases and activations are left out."""
    model = onnx.load(network)
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    layers = [node for node in model.graph.node if node.op_type in _MULTIPLIES]
    for node in layers:
        model.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    found = session.run([node.output[0] for node in layers], dict(zip(names, inputs, strict=True)))
    # Each value of a convolution's result sums over one filter, each of a matrix product's over one column.
    return sum(
        result.size * math.prod(weights[node.input[1]][1:] if node.op_type == "Conv" else weights[node.input[1]][:1])
        for node, result in zip(layers, found, strict=True)
    )


def peak(threads: int, device: str) -> float:
    """Multiply-accumulates a second of the quickest thing at hand: a wide 3x3 convolution in ONNX Runtime."""
    weights = np.ones((_CHANNELS, _CHANNELS, 3, 3), np.float32)
    shape = [1, _CHANNELS, _ROWS, _COLUMNS]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weights"], ["y"], pads=[1] * 4)],
        "peak",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    convolution = Transform(model.SerializeToString(), threads, device)
    x = np.ones(shape, np.float32)
    quickest = math.inf
    for _ in range(_TRIES):
        started = time.perf_counter()
        convolution(x)
        quickest = min(quickest, time.perf_counter() - started)
    return x.size * 9 * _CHANNELS / quickest
