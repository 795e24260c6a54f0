"""The integer networks of a bundle, computed in other ways than ONNX Runtime's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch.nn import functional as F

from shared.codec.integer_network import ACTIVATION_MAX
from training.integer_network import IntegerLayer


def layers_of(network: Path) -> list[IntegerLayer]:
    """A shipped network's layers, read back from its graph."""
    graph = onnx.load(network).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    produced = {name for node in graph.node for name in node.output}
    count = sum(node.op_type == "Conv" for node in graph.node)
    return [
        IntegerLayer(
            constants[f"weights{n}"].astype(np.int32),
            constants[f"biases{n}"].astype(np.int32),
            np.round(-np.log2(constants[f"shifts{n}"])).astype(np.uint8).ravel(),
            upsample=f"up{n}" in produced,
            clip=f"clipped{n}" in produced,
        )
        for n in range(count)
    ]


def in_integers(layers: list[IntegerLayer], known: NDArray[np.int8], level: int) -> NDArray[np.int64]:
    """int8[B, C, h, w] through the network in 64-bit integers, a tap at a time."""
    x = known.astype(np.int64)
    for layer in layers:
        out, size = layer.weights.shape[0], layer.weights.shape[2]
        border = size // 2
        padded = np.pad(x, ((0, 0), (0, 0), (border, border), (border, border)))
        height, width = (side - size + 1 for side in padded.shape[2:])
        sums = layer.biases[level].astype(np.int64)[:, None, None]
        for row in range(size):
            for column in range(size):
                window = padded[:, :, row : row + height, column : column + width]
                sums = sums + np.einsum("oc,bchw->bohw", layer.weights[:, :, row, column].astype(np.int64), window)
        # Rounded half up: floor((2 sum / 2**s + 1) / 2).
        shifts = layer.shifts.astype(np.int64)[:, None, None]
        x = (2 * sums + (1 << shifts)) >> (shifts + 1)
        if layer.clip:
            x = x.clip(0, ACTIVATION_MAX)
        if layer.upsample:
            blocks = x.reshape(-1, out // 4, 2, 2, height, width).transpose(0, 1, 4, 2, 5, 3)
            x = blocks.reshape(-1, out // 4, 2 * height, 2 * width)
    return x


def in_torch(layers: list[IntegerLayer], known: NDArray[np.int8], level: int) -> NDArray[np.int64]:
    """int8[B, C, h, w] through the network in torch's float32."""
    x = torch.from_numpy(known).float()
    for layer in layers:
        weights, biases = torch.from_numpy(layer.weights).float(), torch.from_numpy(layer.biases[level]).float()
        sums = F.conv2d(x, weights, biases, padding=weights.shape[2] // 2)
        x = torch.floor(torch.ldexp(sums, -torch.from_numpy(layer.shifts.astype(np.int64))[:, None, None]) + 0.5)
        if layer.clip:
            x = x.clamp(0, ACTIVATION_MAX)
        if layer.upsample:
            x = F.pixel_shuffle(x, 2)
    return x.numpy().astype(np.int64)


def hardest_inputs(layers: list[IntegerLayer], largest: int) -> list[NDArray[np.int8]]:
    """Inputs that drive a partial sum of the first layer as far as it goes, up and down: int8[1, C, k, k] each."""
    hungriest = int(np.abs(layers[0].weights).sum((1, 2, 3)).argmax())
    aligned = np.where(layers[0].weights[[hungriest]] < 0, -largest, largest).astype(np.int8)
    return [aligned, -aligned]
