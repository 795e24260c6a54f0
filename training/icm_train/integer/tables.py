"""Frequency tables of the integer entropy model, from how often symbols were met."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icm.codec.entropy.integer_network import MEAN_STEPS, SCALE_COUNT
from icm.codec.entropy.tables import TOTAL, Tables, normalised
from icm.codec.latents.latents import HYPER_MAX
from icm_train.integer.grid import SCALE_LOG_STEP, SCALE_MIN

TABLE_REACH = 400
"""No table runs further than this from its mean; rarer values are escaped."""
DETERMINISTIC = TOTAL - (1 << 13)
"""From this frequency on, a table's symbol is taken for granted: a surprise costs the encoder 11 bits or the change."""
PRIOR_WEIGHT = 200.0
"""How many observations the Gaussian shape of a table is worth beside the histogram."""


@dataclass
class Histograms:
    """Counts of what the integer network met.

    Attributes:
        latents: int64[SCALE_COUNT * MEAN_STEPS, 2 * TABLE_REACH + 1], symbols by table, clipped to the reach.
        hyper: int64[levels, N, 2 * HYPER_MAX + 1].
    """

    latents: NDArray[np.int64]
    hyper: NDArray[np.int64]


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
    deterministic = np.array([table[:-1].max() >= DETERMINISTIC for table in frequencies])
    return _tables(frequencies, lengths, lowest, deterministic)


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


def skip_map_tables(counts: NDArray[np.int64]) -> Tables:
    """One table per context of ``icm.codec.entropy.skip_map``: still, moved, and the escape that never comes.

    Args:
        counts: int64[CONTEXTS, 2], how often each was met.
    """
    share = (counts[:, 1].sum() + 1) / (counts.sum() + 2)
    weights = counts + 4 * np.array([1 - share, share])
    frequencies = [normalised(np.append(row, 1e-6)) for row in weights]
    size = len(counts)
    return _tables(frequencies, [3] * size, [0] * size, np.zeros(size, bool))


def _tables(
    frequencies: list[NDArray[np.uint32]], lengths: list[int], lowest: list[int], deterministic: NDArray[np.bool_]
) -> Tables:
    return Tables(np.concatenate(frequencies), np.array(lengths, np.uint16), np.array(lowest, np.int16), deterministic)


def _gaussian_cdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])


def _laplace_cdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(x < 0, 0.5 * np.exp(np.minimum(x, 0)), 1 - 0.5 * np.exp(-np.maximum(x, 0)))
