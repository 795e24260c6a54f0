"""The network that turns hyper-latents into means and table indexes, in integers throughout.

Each layer is a convolution with integer weights whose accumulators are divided by a power of two, rounded half up
and clipped. Weights and activations are held as float32 because matrix products are fast there; as no partial sum
can reach 2**24, every float32 operation is exact and its order does not matter, so every machine gets the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.codec.latents import HYPER_MAX, LATENT_MAX
from shared.errors import BundleError

EXACT_LIMIT = 1 << 24
"""float32 holds every integer below this exactly."""
ACTIVATION_MAX = 255
MEAN_STEPS = 8
"""Mean units per 1 of a latent."""
SCALE_COUNT = 64


@dataclass(frozen=True)
class IntegerLayer:
    """One convolution, 1x1 or 3x3, stride 1.

    Attributes:
        weights: float32[out, in, k, k], integers.
        biases: float32[levels, out], integers.
        shifts: float32[out], powers of two that accumulators are multiplied by, 2**-s.
        upsample: whether a pixel shuffle by 2 follows.
        clip: whether the result is clipped to 0..255.
    """

    weights: NDArray[np.float32]
    biases: NDArray[np.float32]
    shifts: NDArray[np.float32]
    upsample: bool
    clip: bool

    def largest_sum(self, largest_input: int) -> int:
        """Bound of every partial sum, the rounding term included."""
        magnitude = np.abs(self.weights.astype(np.float64)).sum((1, 2, 3)) * largest_input
        rounding = 0.5 / self.shifts.astype(np.float64)
        return int((magnitude + np.abs(self.biases).max(0) + rounding).max())

    def __call__(self, x: NDArray[np.float32], level: int) -> NDArray[np.float32]:
        """x float32[in, h, w], integers -> float32[out, h, w] or, upsampled, float32[out / 4, 2h, 2w]."""
        channels, size = self.weights.shape[0], self.weights.shape[2]
        height, width = x.shape[1:]
        columns = x.reshape(x.shape[0], -1) if size == 1 else _columns(x)
        sums = self.weights.reshape(channels, -1) @ columns
        sums += self.biases[level][:, None]
        sums *= self.shifts[:, None]
        sums += np.float32(0.5)
        np.floor(sums, out=sums)
        if self.clip:
            np.clip(sums, 0, ACTIVATION_MAX, out=sums)
        result = sums.reshape(channels, height, width)
        return _pixel_shuffle(result) if self.upsample else result


class IntegerNetwork:
    """h_s in integers: four layers, upsampling by 4 in all."""

    def __init__(self, layers: list[IntegerLayer]) -> None:
        """Raises BundleError: a partial sum could leave float32's exact range."""
        largest_input = HYPER_MAX
        for number, layer in enumerate(layers):
            bound = layer.largest_sum(largest_input)
            if bound >= EXACT_LIMIT:
                raise BundleError(f"integer layer {number} can reach {bound}; exactness ends at {EXACT_LIMIT}")
            largest_input = ACTIVATION_MAX
        self.layers = layers
        self.levels = layers[0].biases.shape[0]
        self.latents = layers[-1].weights.shape[0] // 2

    def __call__(self, hyper: NDArray[np.int8], level: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Predicts the latents.

        Args:
            hyper: int8[N, h, w]; level: the quality level whose biases hold.

        Returns:
            Means int32[M, 4h, 4w] in 1/8 and scale indexes uint8[M, 4h, 4w], 0..63.
        """
        x = hyper.astype(np.float32)
        for layer in self.layers:
            x = layer(x, level)
        limit = LATENT_MAX * MEAN_STEPS
        means = np.clip(x[: self.latents], -limit, limit).astype(np.int32)
        indexes = np.clip(x[self.latents :], 0, SCALE_COUNT - 1).astype(np.uint8)
        return means, indexes

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The network as arrays to store."""
        stored: dict[str, NDArray[Any]] = {}
        for number, layer in enumerate(self.layers):
            stored[f"layer{number}_weights"] = layer.weights.astype(np.int32)
            stored[f"layer{number}_biases"] = layer.biases.astype(np.int32)
            stored[f"layer{number}_shifts"] = np.round(-np.log2(layer.shifts)).astype(np.uint8)
            stored[f"layer{number}_flags"] = np.array([layer.upsample, layer.clip])
        return stored

    @staticmethod
    def from_arrays(stored: Mapping[str, NDArray[Any]]) -> IntegerNetwork:
        """Raises BundleError or KeyError: the arrays hold no such network."""
        count = sum(name.endswith("_weights") for name in stored)
        return IntegerNetwork(
            [
                IntegerLayer(
                    stored[f"layer{n}_weights"].astype(np.float32),
                    stored[f"layer{n}_biases"].astype(np.float32),
                    np.ldexp(np.float32(1), -stored[f"layer{n}_shifts"].astype(np.int32)).astype(np.float32),
                    bool(stored[f"layer{n}_flags"][0]),
                    bool(stored[f"layer{n}_flags"][1]),
                )
                for n in range(count)
            ]
        )


def _columns(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The 3x3 neighbourhoods of float32[C, h, w], zeros outside: float32[9C, h * w], as the weights are laid out."""
    channels, height, width = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    columns = np.empty((channels, 9, height, width), np.float32)
    for row in range(3):
        for column in range(3):
            columns[:, 3 * row + column] = padded[:, row : row + height, column : column + width]
    return columns.reshape(channels * 9, height * width)


def _pixel_shuffle(x: NDArray[np.float32]) -> NDArray[np.float32]:
    channels, height, width = x.shape
    blocks = x.reshape(channels // 4, 2, 2, height, width).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(blocks).reshape(channels // 4, 2 * height, 2 * width)
