"""Stage 3b: the float entropy model becomes the integer one that ships."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from shared.codec.entropy import EntropyModel
from shared.codec.integer_network import ACTIVATION_MAX, MEAN_STEPS, SCALE_COUNT, IntegerNetwork
from shared.codec.latents import HYPER_MAX, QUALITY_STEPS, Latents
from shared.codec.tables import TOTAL, Tables, normalised
from training.entropy_model import ACTIVATION_STEPS, SCALE_LOG_STEP, SCALE_MIN, HyperSynthesis
from training.integer_network import EXACT_LIMIT, IntegerLayer
from training.model import TrainableCodec

log = logging.getLogger(__name__)

LARGEST_SHIFT = 14
TABLE_REACH = 400
"""No table runs further than this from its mean; rarer values are escaped."""
CERTAIN = TOTAL - (1 << 13)
"""From this frequency on, a table's symbol is taken for granted: a surprise costs the encoder 11 bits or the change."""
PRIOR_WEIGHT = 200.0
"""How many observations the Gaussian shape of a table is worth beside the histogram."""


def integer_layers(float_network: HyperSynthesis) -> list[IntegerLayer]:
    """Scales each output channel's weights by the largest power of two that keeps all partial sums exact."""
    levels = float_network.first_bias.shape[0]
    latents = float_network.latents
    # The last layer's means come out in 1/8, its scale indexes in 1.
    last_scale = torch.cat((torch.full((latents,), float(MEAN_STEPS)), torch.full((latents,), 8.0)))
    hidden_scale = float(ACTIVATION_STEPS)
    second, third = float_network.second, float_network.third
    assert second.bias is not None
    assert third.bias is not None
    plain: list[tuple[Tensor, Tensor, float, float | Tensor, bool, bool]] = [
        (float_network.first.weight, float_network.first_bias, 1.0, hidden_scale, True, True),
        (second.weight, second.bias.expand(levels, -1), hidden_scale, hidden_scale, True, True),
        (third.weight, third.bias.expand(levels, -1), hidden_scale, hidden_scale, False, True),
        (float_network.last.weight, float_network.last_bias, hidden_scale, last_scale, False, False),
    ]
    layers = []
    largest_input = HYPER_MAX
    for weight, bias, scale_in, scale_out, upsample, clip in plain:
        layers.append(_integer_layer(weight, bias, scale_in, scale_out, largest_input, upsample, clip))
        largest_input = ACTIVATION_MAX
    return layers


def _integer_layer(
    weight: Tensor, bias: Tensor, scale_in: float, scale_out: float | Tensor, largest: int, upsample: bool, clip: bool
) -> IntegerLayer:
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


@dataclass
class Histograms:
    """Counts of what the integer network met.

    Attributes:
        latents: int64[SCALE_COUNT * MEAN_STEPS, 2 * TABLE_REACH + 1], symbols by table, clipped to the reach.
        hyper: int64[levels, N, 2 * HYPER_MAX + 1].
    """

    latents: NDArray[np.int64]
    hyper: NDArray[np.int64]


@torch.no_grad()
def count(codec: TrainableCodec, network: IntegerNetwork, images: Iterable[Tensor]) -> Histograms:
    """Codes uint8[3, H, W] pictures (sides multiples of 64) at every level and counts the symbols."""
    latents = np.zeros((SCALE_COUNT * MEAN_STEPS, 2 * TABLE_REACH + 1), np.int64)
    levels = len(codec.config.lambdas)
    hyper = np.zeros((levels, codec.config.hyper, 2 * HYPER_MAX + 1), np.int64)
    for image in tqdm(list(images), desc="counting", unit="photo"):
        for level in range(levels):
            y, z = codec.integers(image[None].float() / 255, level)
            hyper_values = z[0].numpy().astype(np.int8)
            means, indexes = network(hyper_values, level)
            tables = indexes.astype(np.int32) * MEAN_STEPS + means % MEAN_STEPS
            symbols = np.clip(y[0].numpy().astype(np.int32) - means // MEAN_STEPS, -TABLE_REACH, TABLE_REACH)
            np.add.at(latents, (tables.ravel(), symbols.ravel() + TABLE_REACH), 1)
            channels = np.arange(codec.config.hyper)[:, None, None]
            np.add.at(hyper[level], (np.broadcast_to(channels, hyper_values.shape), hyper_values + HYPER_MAX), 1)
    return Histograms(latents, hyper)


def latent_tables(histograms: Histograms) -> Tables:
    """One table per scale index and eighth: a Gaussian with a thin Laplacian skirt, corrected by the histogram."""
    frequencies, lengths, lowest = [], [], []
    for index in range(SCALE_COUNT):
        sigma = SCALE_MIN * math.exp(index * SCALE_LOG_STEP)
        reach = min(TABLE_REACH, math.ceil(4.5 * sigma) + 2)
        for eighth in range(MEAN_STEPS):
            edges = np.arange(-reach, reach + 3) - 0.5 - eighth / MEAN_STEPS
            shape = 0.995 * np.diff(_gaussian_cdf(edges / sigma)) + 0.005 * np.diff(_laplace_cdf(edges / (2 * sigma)))
            seen = histograms.latents[index * MEAN_STEPS + eighth]
            middle = seen[TABLE_REACH - reach : TABLE_REACH + reach + 2]
            middle = np.pad(middle, (0, 2 * reach + 2 - len(middle)))
            outside = seen.sum() - middle.sum()
            weights = np.append(PRIOR_WEIGHT * shape + middle, outside + PRIOR_WEIGHT * 1e-4)
            frequencies.append(normalised(weights))
            lengths.append(len(weights))
            lowest.append(-reach)
    certain = np.array([table[:-1].max() >= CERTAIN for table in frequencies])
    return _tables(frequencies, lengths, lowest, certain)


def hyper_tables(histograms: Histograms) -> Tables:
    """One table per level and channel, from the histogram, smoothed."""
    kernel = np.array([0.05, 0.9, 0.05])
    frequencies, lengths, lowest = [], [], []
    for by_channel in histograms.hyper:
        for counts in by_channel:
            weights = np.convolve(counts, kernel, mode="same") + counts.sum() * 1e-5 + 0.05
            frequencies.append(normalised(np.append(weights, 1e-3)))
            lengths.append(len(weights) + 1)
            lowest.append(-HYPER_MAX)
    return _tables(frequencies, lengths, lowest, np.zeros(len(lengths), bool))


def _tables(
    frequencies: list[NDArray[np.uint32]], lengths: list[int], lowest: list[int], certain: NDArray[np.bool_]
) -> Tables:
    return Tables(np.concatenate(frequencies), np.array(lengths, np.uint16), np.array(lowest, np.int16), certain)


@torch.no_grad()
def rate_loss(codec: TrainableCodec, entropy: EntropyModel, images: Iterable[Tensor]) -> float:
    """Payload bytes of the integer model over those of the float one, less 1; over uint8[3, H, W] pictures."""
    integer = floating = 0.0
    for image in images:
        height, width = image.shape[1:]
        for level in range(entropy.levels):
            y, z = codec.integers(image[None].float() / 255, level)
            means, indexes = codec.hyper_synthesis(z, torch.tensor([level]))
            floating += float(codec.latent_bits(y, means, indexes).sum() + codec.hyper_prior(z).sum()) / 8
            values = Latents(
                y[0].numpy().astype(np.int16), z[0].numpy().astype(np.int8), level * QUALITY_STEPS, width, height
            )
            integer += len(entropy.encode(values))
    return integer / floating - 1


def _gaussian_cdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])


def _laplace_cdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(x < 0, 0.5 * np.exp(np.minimum(x, 0)), 1 - 0.5 * np.exp(-np.maximum(x, 0)))
