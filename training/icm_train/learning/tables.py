"""Frequency tables counted on photos, as a bundle's are made, to tell what latents would cost."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from icm.codec.entropy.integer_network import MEAN_STEPS, SCALE_COUNT
from icm.codec.entropy.tables import TOTAL
from icm.codec.latents.latents import HYPER_MAX
from icm_train.integer.tables import TABLE_REACH, Histograms, latent_tables
from icm_train.models.codec import RateOn, TrainableCodec

_ESCAPE_BITS = 2.0
"""What each doubling of a value beyond its table costs."""


class CountedTables:
    """A table for each scale index and eighth of a mean; all quality levels share them."""

    def __init__(self, counts: NDArray[np.int64]) -> None:
        """Makes tables from counted symbols.

        Args:
            counts: int64[SCALE_COUNT * MEAN_STEPS, 2 * TABLE_REACH + 1], symbols by table.
        """
        tables = latent_tables(Histograms(counts, np.zeros((0, 0, 2 * HYPER_MAX + 1), np.int64)))
        self._cost = -np.log2(tables.frequencies / TOTAL)
        self._lengths, self._lowest = tables.lengths.astype(np.int64), tables.lowest.astype(np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths

    @staticmethod
    @torch.no_grad()
    def of(codec: TrainableCodec, pictures: Tensor, rate_on: RateOn = "rounded") -> CountedTables:
        """Counted on pictures coded at every level.

        Args:
            pictures: uint8[B, 3, H, W], sides multiples of 64.
            rate_on: see ``TrainableCodec.integers``.
        """
        device = next(codec.parameters()).device
        counts = np.zeros((SCALE_COUNT * MEAN_STEPS, 2 * TABLE_REACH + 1), np.int64)
        for level in range(len(codec.config.lambdas)):
            for picture in pictures:
                y, z = codec.integers(picture[None].to(device).float() / 255, level, rate_on)
                means, indexes = codec.hyper_synthesis(z, torch.tensor([level], device=device))
                chosen, symbols = _symbols(y, means, indexes)
                np.add.at(counts, (chosen, symbols.clip(-TABLE_REACH, TABLE_REACH) + TABLE_REACH), 1)
        return CountedTables(counts)

    def bits(self, latents: Tensor, means: Tensor, indexes: Tensor) -> float:
        """Of whole latents under the float model's means and scale indexes, all of one shape."""
        chosen, symbols = _symbols(latents, means, indexes)
        place = symbols - self._lowest[chosen]
        # The last entry of a table says that a value lies beyond it.
        last = self._lengths[chosen] - 1
        beyond = (place < 0) | (place >= last)
        cost = self._cost[self._starts[chosen] + np.where(beyond, last, place)]
        far = _ESCAPE_BITS * np.log2(1 + np.abs(symbols[beyond]))
        return float(cost.sum() + far.sum())


def _symbols(latents: Tensor, means: Tensor, indexes: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The table of each latent and its symbol there, int64[n] each, as the integer model chooses them."""
    eighths = torch.round(means.float() * MEAN_STEPS).long()
    scale = torch.round(indexes.float()).long().clamp(0, SCALE_COUNT - 1)
    whole = torch.div(eighths, MEAN_STEPS, rounding_mode="floor")
    chosen = scale * MEAN_STEPS + eighths - whole * MEAN_STEPS
    symbols = latents.long() - whole
    return chosen.flatten().cpu().numpy(), symbols.flatten().cpu().numpy()
