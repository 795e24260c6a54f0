"""The integer network in the making: layers of whole numbers, their bounds, and the ONNX graph that ships.

Each layer is a convolution with integer weights whose accumulators are divided by a power of two, rounded half up
and clipped. The graph computes in float32, which is exact as long as no partial sum reaches 2**24.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from icm.codec.entropy.integer_network import ACTIVATION_MAX, NETWORK_INPUTS
from icm.codec.latents.latents import HYPER_MAX
from icm.errors import BundleError

EXACT_LIMIT = 1 << 24
"""float32 holds every integer below this exactly."""
LARGEST_SHIFT = 14
_OPSET = 17


@dataclass(frozen=True)
class IntegerLayer:
    """One convolution, 1x1 or 3x3 over a picture padded with zeros, stride 1.

    Attributes:
        weights: int32[out, in, k, k].
        biases: int32[levels, out].
        shifts: uint8[out]; accumulators are divided by 2**shift.
        upsample: whether a pixel shuffle by 2 follows.
        clip: whether the result is clipped to 0..255.
    """

    weights: NDArray[np.int32]
    biases: NDArray[np.int32]
    shifts: NDArray[np.uint8]
    upsample: bool
    clip: bool

    def largest_sum(self, largest_input: int) -> int:
        """Bound of every partial sum, the rounding term included; doubled where nothing is shifted off."""
        magnitude = np.abs(self.weights.astype(np.int64)).sum((1, 2, 3)) * largest_input
        rounding = (1 << self.shifts.astype(np.int64)) // 2 + 1
        sums = magnitude + np.abs(self.biases.astype(np.int64)).max(0) + rounding
        return int(np.where(self.shifts == 0, 2 * sums, sums).max())


def check_exact(layers: list[IntegerLayer]) -> None:
    """Checks that every sum of the layers is exact in float32.

    Raises:
        BundleError: a partial sum could leave float32's exact range.
    """
    largest_input = HYPER_MAX
    for number, layer in enumerate(layers):
        bound = layer.largest_sum(largest_input)
        if bound >= EXACT_LIMIT:
            raise BundleError(f"integer layer {number} can reach {bound}; exactness ends at {EXACT_LIMIT}")
        largest_input = ACTIVATION_MAX


def integer_layer(
    weight: Tensor,
    bias: Tensor,
    scale_in: float,
    scale_out: float | Tensor,
    largest: int,
    *,
    upsample: bool,
    clip: bool,
) -> IntegerLayer:
    """A float convolution in integers.

    Args:
        weight: float32[out, in, k, k].
        bias: float32[levels, out].
        scale_in: integer units per 1.0 of the float network's input.
        scale_out: integer units per 1.0 of the float network's output.
        largest: magnitude of an input, in units.
        upsample: as in ``IntegerLayer``.
        clip: as in ``IntegerLayer``.
    """
    out = torch.as_tensor(scale_out).double().expand(weight.shape[0])
    weights = (weight.detach().double() * (out / scale_in)[:, None, None, None]).numpy()
    biases = (bias.detach().double() * out).numpy()
    reach = np.abs(weights).sum((1, 2, 3)) * largest + np.abs(biases).max(0) + 0.5
    # Rounding may add half a unit to each weight.
    spare = EXACT_LIMIT - 0.5 * largest * weights[0].size - 4
    shifts = np.clip(np.floor(np.log2(spare / reach)), 0, LARGEST_SHIFT)
    factor = np.exp2(shifts)
    return IntegerLayer(
        np.round(weights * factor[:, None, None, None]).astype(np.int32),
        np.round(biases * factor).astype(np.int32),
        shifts.astype(np.uint8),
        upsample,
        clip,
    )


def build_graph(layers: list[IntegerLayer]) -> onnx.ModelProto:
    """The network as ONNX, after ``check_exact``.

    The initialisers ``weights0``, ``biases0``, ``shifts0`` and so on hold the integers of each layer.
    """
    check_exact(layers)
    constants = {
        "half": np.float32(0.5),
        "zero": np.float32(0),
        "most": np.float32(ACTIVATION_MAX),
        "column": np.array([1, -1, 1, 1], np.int64),
    }
    nodes = []
    x = NETWORK_INPUTS[0]
    for n, layer in enumerate(layers):
        constants[f"weights{n}"] = layer.weights.astype(np.float32)
        constants[f"biases{n}"] = layer.biases.astype(np.float32)
        constants[f"shifts{n}"] = np.ldexp(np.float32(1), -layer.shifts.astype(int))[None, :, None, None].astype(
            np.float32
        )
        size = layer.weights.shape[2]
        nodes += [
            helper.make_node("Conv", [x, f"weights{n}"], [f"products{n}"], pads=[size // 2] * 4),
            helper.make_node("Gather", [f"biases{n}", NETWORK_INPUTS[1]], [f"row{n}"], axis=0),
            helper.make_node("Reshape", [f"row{n}", "column"], [f"bias{n}"]),
            helper.make_node("Add", [f"products{n}", f"bias{n}"], [f"sums{n}"]),
            helper.make_node("Mul", [f"sums{n}", f"shifts{n}"], [f"shares{n}"]),
            helper.make_node("Add", [f"shares{n}", "half"], [f"raised{n}"]),
            helper.make_node("Floor", [f"raised{n}"], [f"rounded{n}"]),
        ]
        x = f"rounded{n}"
        if layer.clip:
            nodes.append(helper.make_node("Clip", [x, "zero", "most"], [f"clipped{n}"]))
            x = f"clipped{n}"
        if layer.upsample:
            nodes.append(helper.make_node("DepthToSpace", [x], [f"up{n}"], blocksize=2, mode="CRD"))
            x = f"up{n}"
    inputs = [
        helper.make_tensor_value_info(
            NETWORK_INPUTS[0], TensorProto.FLOAT, ["batch", layers[0].weights.shape[1], "rows", "columns"]
        ),
        helper.make_tensor_value_info(NETWORK_INPUTS[1], TensorProto.INT64, [1]),
    ]
    output = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", layers[-1].weights.shape[0], None, None])
    initialisers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "integer_network", inputs, [output], initialisers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model
