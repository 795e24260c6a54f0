"""The crops of ``photo_shard.Crops``, cut on a GPU: all photos lie in its memory, and no core is waited for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from icm_train.data.masks import mask_file, read_masks
from icm_train.data.photo_shard import SMALLEST_SCALE, Batch

_TAPS = 5
"""Samples along a side that a pixel of a crop at half its photo's scale is the weighted mean of."""


class DeviceCrops:
    """An endless supply of random crops, as ``Crops`` cuts them, but drawn by the device's own random numbers.

    All of it is work for the device alone, so that it can be part of a recorded step.
    """

    def __init__(self, shard: Path, size: int, batch: int, device: torch.device) -> None:
        """Brings all photos, and their masks if there are any, into the device's memory.

        Args:
            shard: made by ``photo_shard.pack``.
            size: side of a crop, pixels.
            batch: crops at a time.
            device: where the photos lie and the crops are cut.
        """
        photos: list[dict[str, Any]] = json.loads(shard.with_suffix(".json").read_text())
        self.size, self.batch, self.device = size, batch, device
        self._pixels = torch.from_numpy(np.fromfile(shard, np.uint8)).to(device)
        self._masks = None
        if mask_file(shard).exists():
            self._masks = torch.from_numpy(_all_masks(shard, photos)).to(device)

        def told(name: str) -> Tensor:
            return torch.tensor([photo[name] for photo in photos], device=device)

        self._starts = told("offset") // 3
        self._heights, self._widths = told("height"), told("width")

    def __next__(self) -> Batch:
        """Images float32[B, 3, size, size] in 0..1 and, where the shard has masks, masks float32[B, size, size]."""
        number = torch.randint(len(self._starts), (self.batch,), device=self.device)
        height, width = self._heights[number], self._widths[number]
        largest = torch.minimum(height, width).clamp_max(int(self.size / SMALLEST_SCALE))
        reduced = (self.size + self._uniform() * (largest + 1 - self.size)).long()
        cut = torch.where(self._uniform() < 0.5, self.size, reduced)
        top = (self._uniform() * (height - cut + 1)).long()
        left = (self._uniform() * (width - cut + 1)).long()
        # A pixel's number in the shard is ``first`` + row * width + column of the cut.
        first = self._starts[number] + top * width + left
        mirrored = self._uniform() < 0.5
        image = self._reduced(first, width, cut)
        image = torch.where(mirrored[:, None, None, None], image.flip(-1), image)
        if self._masks is None:
            return Batch(image, None)
        mask = self._nearest(self._masks, first, width, cut)
        return Batch(image, torch.where(mirrored[:, None, None], mask.flip(-1), mask))

    def _uniform(self) -> Tensor:
        return torch.rand(self.batch, device=self.device)

    def _reduced(self, first: Tensor, width: Tensor, cut: Tensor) -> Tensor:
        """Every cut as float32[3, size, size] by a triangular filter, rows first; rounded to grey levels, in 0..1."""
        places, weights = _filter(self.size, cut)
        columns = torch.arange(int(self.size / SMALLEST_SCALE), device=self.device).minimum(cut[:, None] - 1)
        pixels = self._pixels.view(-1, 3)
        rows = torch.zeros(self.batch, self.size, columns.shape[1], 3, device=self.device)
        for tap in range(_TAPS):
            numbers = first[:, None, None] + places[..., tap, None] * width[:, None, None] + columns[:, None]
            rows += weights[..., tap, None, None] * pixels[numbers]
        image = torch.zeros(self.batch, self.size, self.size, 3, device=self.device)
        for tap in range(_TAPS):
            at = places[:, None, :, tap, None].expand(-1, self.size, -1, 3)
            image += weights[:, None, :, tap, None] * rows.gather(2, at)
        return image.round().clamp(0, 255).div(255).permute(0, 3, 1, 2)

    def _nearest(self, planes: Tensor, first: Tensor, width: Tensor, cut: Tensor) -> Tensor:
        steps = torch.arange(self.size, device=self.device)
        places = (steps * (cut[:, None] / self.size)).long()
        return planes[first[:, None, None] + places[:, :, None] * width[:, None, None] + places[:, None]].float()


def _filter(size: int, cut: Tensor) -> tuple[Tensor, Tensor]:
    """Which samples of a side of ``cut`` make each of ``size``, and what each counts: int64 and float32[B, size, 5].

    A triangle as wide as the reduction, up to a half, asks for; it ends at the cut, whose weights then sum to 1 again.
    """
    scale = cut[:, None] / size
    centre = (torch.arange(size, device=cut.device) + 0.5) * scale
    places = centre.long()[..., None] + torch.arange(-(_TAPS // 2), _TAPS // 2 + 1, device=cut.device)
    weights = (1 - ((places + 0.5 - centre[..., None]) / scale[..., None]).abs()).clamp_min(0)
    weights = torch.where((places >= 0) & (places < cut[:, None, None]), weights, 0)
    return places.clamp_min(0).minimum(cut[:, None, None] - 1), weights / weights.sum(-1, keepdim=True)


def _all_masks(shard: Path, photos: list[dict[str, Any]]) -> NDArray[np.uint8]:
    """The masks of all photos, a byte a pixel, in the order of the shard."""
    packed = read_masks(shard, photos)
    sizes = [photo["height"] * photo["width"] for photo in photos]
    return np.concatenate([np.unpackbits(bits, count=size) for bits, size in zip(packed, sizes, strict=True)])
