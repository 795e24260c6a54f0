"""The integer networks of a bundle, computed in other ways than the shipped code does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch.nn import functional as F

from icm.codec.entropy.integer_network import ACTIVATION_MAX
from icm.codec.latents.latents import LATENT_MAX, STRIDE
from icm.codec.motion.linear_path import EIGHTHS, PIXEL_MAX, WEIGHT_BITS, LinearPath
from icm.codec.predict.requantise import OCTAVE_STEPS, octaves_at, times_power
from icm_train.integer.network import IntegerLayer


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


class PathInIntegers(LinearPath):
    """A linear path in NumPy's 64-bit integers throughout: no product of floats, nothing of the compiled code."""

    def blocks(self, latents: NDArray[np.int16], quality: int) -> NDArray[np.int16]:
        gains = octaves_at(self.octaves, quality)
        unscaled = times_power(latents, _SIXTEENTHS * OCTAVE_STEPS - gains, _UNSCALED_MAX)
        pixels = _divided(unscaled @ self.synthesis.astype(np.int64).T, WEIGHT_BITS)
        return np.clip(pixels, -PIXEL_MAX, PIXEL_MAX).astype(np.int16).reshape(-1, STRIDE, STRIDE, 3)

    def latents(self, blocks: NDArray[np.float64], quality: int) -> NDArray[np.int32]:
        unscaled = _divided(blocks.astype(np.int64) @ self.analysis.astype(np.int64).T, WEIGHT_BITS)
        # From sixteenths to eighths.
        exponent = octaves_at(self.octaves, quality) - OCTAVE_STEPS
        return times_power(unscaled, exponent, LATENT_MAX * EIGHTHS).astype(np.int32)


_SIXTEENTHS = 4
"""Binary digits of what a linear picture and unscaled latents count in."""
_UNSCALED_MAX = (1 << 19) - 1


def _divided(sums: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    divided: NDArray[np.int64] = (sums + (1 << bits - 1)) >> bits
    return divided


class InIntegers:
    """Layers in NumPy's 64-bit integers, a tap of a convolution at a time."""

    def __init__(self, layers: Sequence[IntegerLayer]) -> None:
        self._layers = [
            (layer, np.ascontiguousarray(layer.weights.astype(np.int64).transpose(2, 3, 0, 1))) for layer in layers
        ]

    def __call__(self, known: NDArray[np.generic], level: int) -> NDArray[np.int64]:
        """Whole numbers [B, C, h, w] through the layers, with the biases of this level."""
        x = known.astype(np.int64)
        for layer, taps in self._layers:
            size, _, out, _ = taps.shape
            border = size // 2
            padded = np.pad(x, ((0, 0), (0, 0), (border, border), (border, border)))
            height, width = (side - size + 1 for side in padded.shape[2:])
            sums = layer.biases[level].astype(np.int64)[:, None, None]
            for row in range(size):
                for column in range(size):
                    window = padded[:, :, row : row + height, column : column + width]
                    sums = sums + np.einsum("oc,bchw->bohw", taps[row, column], window)
            # Rounded half up: floor((2 sum / 2**s + 1) / 2).
            shifts = layer.shifts.astype(np.int64)[:, None, None]
            x = (2 * sums + (1 << shifts)) >> (shifts + 1)
            if layer.clip:
                x = x.clip(0, ACTIVATION_MAX)
            if layer.upsample:
                blocks = x.reshape(-1, out // 4, 2, 2, height, width).transpose(0, 1, 4, 2, 5, 3)
                x = blocks.reshape(-1, out // 4, 2 * height, 2 * width)
        return x


class InTorch:
    """Layers in torch's float32, with as many threads as torch is set to."""

    def __init__(self, layers: Sequence[IntegerLayer]) -> None:
        self._layers = [
            (
                layer,
                torch.from_numpy(layer.weights).float(),
                torch.from_numpy(layer.biases).float(),
                -torch.from_numpy(layer.shifts.astype(np.int64))[:, None, None],
            )
            for layer in layers
        ]

    def __call__(self, known: NDArray[np.generic], level: int) -> NDArray[np.float32]:
        """Whole numbers [B, C, h, w] through the layers, with the biases of this level."""
        x = torch.from_numpy(known.astype(np.float32))
        for layer, weights, biases, exponents in self._layers:
            sums = F.conv2d(x, weights, biases[level], padding=weights.shape[2] // 2)
            x = torch.floor(torch.ldexp(sums, exponents) + 0.5)
            if layer.clip:
                x = x.clamp(0, ACTIVATION_MAX)
            if layer.upsample:
                x = F.pixel_shuffle(x, 2)
        result: NDArray[np.float32] = x.numpy()
        return result


class InSession:
    """A network's file in ONNX Runtime on the CPU, with this many threads and graph optimisation."""

    def __init__(self, network: Path, threads: int, optimisation: onnxruntime.GraphOptimizationLevel) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = optimisation
        self._session = onnxruntime.InferenceSession(str(network), options, ["CPUExecutionProvider"])
        self._inputs = [node.name for node in self._session.get_inputs()]

    def __call__(self, known: NDArray[np.generic], level: int) -> NDArray[np.float32]:
        """Whole numbers [B, C, h, w] through the network, with the biases of this level."""
        given = (known.astype(np.float32), np.array([level]))
        result: NDArray[np.float32]
        (result,) = self._session.run(None, dict(zip(self._inputs, given, strict=True)))
        return result
