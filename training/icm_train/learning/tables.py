"""Frequency tables counted on photos, as a bundle's are made, to tell what latents would cost."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from icm.codec.entropy.integer_network import MEAN_STEPS, SCALE_COUNT
from icm.codec.entropy.tables import TOTAL, Tables
from icm.codec.latents.latents import HYPER_MAX
from icm_train.integer.tables import TABLE_REACH, Histograms, hyper_tables, latent_tables
from icm_train.models.codec import RateOn, TrainableCodec

_ESCAPE_BITS = 2.0
"""What each doubling of a value beyond its table costs."""


class CountedTables:
    """Of latents a table for each scale index and eighth of a mean, of hyper-latents one for each level and channel."""

    def __init__(self, histograms: Histograms) -> None:
        """Makes tables from counted symbols."""
        self._latents, self._hyper = _Costs(latent_tables(histograms)), _Costs(hyper_tables(histograms))
        self._hyper_channels = histograms.hyper.shape[1]

    @staticmethod
    @torch.no_grad()
    def of(codec: TrainableCodec, pictures: Tensor, rate_on: RateOn = "rounded") -> CountedTables:
        """Counted on pictures coded at every level.

        Args:
            pictures: uint8[B, 3, H, W], sides multiples of 64.
            rate_on: see ``TrainableCodec.integers``.
        """
        device = next(codec.parameters()).device
        levels, channels = len(codec.config.lambdas), codec.config.hyper
        latents = np.zeros((SCALE_COUNT * MEAN_STEPS, 2 * TABLE_REACH + 1), np.int64)
        hyper = np.zeros((levels, channels, 2 * HYPER_MAX + 1), np.int64)
        for level in range(levels):
            for picture in pictures:
                y, z = codec.integers(picture[None].to(device).float() / 255, level, rate_on)
                means, indexes = codec.hyper_synthesis(z, torch.tensor([level], device=device))
                chosen, symbols = _symbols(y, means, indexes)
                np.add.at(latents, (chosen, symbols.clip(-TABLE_REACH, TABLE_REACH) + TABLE_REACH), 1)
                np.add.at(hyper[level], (_channels(z), _whole(z) + HYPER_MAX), 1)
        return CountedTables(Histograms(latents, hyper))

    def bits(self, latents: Tensor, means: Tensor, indexes: Tensor) -> float:
        """Of whole latents under the float model's means and scale indexes, all of one shape."""
        return self._latents.bits(*_symbols(latents, means, indexes))

    def hyper_bits(self, hyper: Tensor, level: int) -> float:
        """Of whole hyper-latents of one level, float32[B, N, h, w]."""
        return self._hyper.bits(level * self._hyper_channels + _channels(hyper), _whole(hyper))


class _Costs:
    """What symbols cost under a list of tables, in bits."""

    def __init__(self, tables: Tables) -> None:
        self._cost = -np.log2(tables.frequencies / TOTAL)
        self._lengths, self._lowest = tables.lengths.astype(np.int64), tables.lowest.astype(np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths

    def bits(self, chosen: NDArray[np.int64], symbols: NDArray[np.int64]) -> float:
        """Symbols int64[n], each under the table of the same place in ``chosen``."""
        place = symbols - self._lowest[chosen]
        # The last entry of a table says that a value lies beyond it.
        last = self._lengths[chosen] - 1
        beyond = (place < 0) | (place >= last)
        cost = self._cost[self._starts[chosen] + np.where(beyond, last, place)]
        far = _ESCAPE_BITS * np.log2(1 + np.abs(symbols[beyond]))
        return float(cost.sum() + far.sum())


def _channels(hyper: Tensor) -> NDArray[np.int64]:
    """The channel of each of float32[B, N, h, w], int64[B * N * h * w]."""
    numbers = torch.arange(hyper.shape[1])[None, :, None, None].expand(hyper.shape)
    return numbers.flatten().numpy()


def _whole(values: Tensor) -> NDArray[np.int64]:
    return values.long().flatten().cpu().numpy()


def _symbols(latents: Tensor, means: Tensor, indexes: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The table of each latent and its symbol there, int64[n] each, as the integer model chooses them."""
    eighths = torch.round(means.float() * MEAN_STEPS).long()
    scale = torch.round(indexes.float()).long().clamp(0, SCALE_COUNT - 1)
    whole = torch.div(eighths, MEAN_STEPS, rounding_mode="floor")
    chosen = scale * MEAN_STEPS + eighths - whole * MEAN_STEPS
    return _whole(chosen), _whole(latents.long() - whole)
