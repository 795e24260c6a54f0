"""The photos of a long run: which are trained on and at what scales, and which are held out to measure on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from icm_train.data.photo_shard import Crops
from icm_train.learning.recipe import Recipe

HELD_OUT = 32
"""Photos that are measured on and never trained on."""
COARSE = 5.0
"""``coding_step`` from which on a photo's own coding errors would be learned: it is used reduced only."""
COARSE_SCALE = 0.6
"""The largest scale at which such photos are used: their blocks of 8 pixels become less than 5."""
TOO_COARSE = 15.0
"""From this ``coding_step`` on a photo is left out (JPEG quality 50 and worse)."""


class TrainingCrops:
    """Batches of crops, each following from the seed and the number of its step alone."""

    def __init__(self, shard: Path, recipe: Recipe) -> None:
        self._crops = Crops(shard, recipe.crop, recipe.batch, recipe.seed, recipe.smallest_scale)
        self._recipe = recipe
        photos = self._crops.photos
        kept_out = set(held_out(photos))
        self._scales = np.array([_largest_scale(photo) for photo in photos])
        areas = np.array([photo["height"] * photo["width"] for photo in photos], np.float64) * self._scales**2
        sides = np.array([min(photo["height"], photo["width"]) for photo in photos]) * self._scales
        usable = (sides >= recipe.crop) & ~np.isin(np.arange(len(photos)), list(kept_out))
        if not usable.any():
            raise FileNotFoundError(
                f"{shard} has no photo to train on: {len(photos)} in all, {len(kept_out)} held out, and the others are"
                f" smaller than {recipe.crop} px or coded too coarsely"
            )
        # Every pixel as often as any other: large clean photos hold most of what there is to learn.
        self._shares = np.where(usable, areas, 0) / areas[usable].sum()

    def batch(self, step: int) -> Tensor:
        """uint8[batch, 3, crop, crop] of this step."""
        self._crops.random = np.random.default_rng([self._recipe.seed, step])
        numbers = self._crops.random.choice(len(self._shares), self._recipe.batch, p=self._shares)
        return torch.stack([self._crops.crop_of(int(n), float(self._scales[n])).image for n in numbers])


def held_out(photos: list[dict[str, Any]]) -> list[int]:
    """Numbers of the photos to measure on: half of them never coded with loss as JPEG, the others finely coded.

    They follow from the photos' names, so that they are the same on every machine. A twentieth of the photos at most.
    """
    count = min(HELD_OUT, len(photos) // 20)
    order = sorted(range(len(photos)), key=lambda n: hashlib.sha256(photos[n]["name"].encode()).digest())
    clean = [n for n in order if photos[n].get("coding_step", 0) == 0]
    fine = [n for n in order if 0 < photos[n].get("coding_step", 0) < COARSE]
    chosen = clean[: max(count // 2, count - len(fine))]
    return (chosen + fine)[:count]


def _largest_scale(photo: dict[str, Any]) -> float:
    step = photo.get("coding_step", 0)
    if step >= TOO_COARSE:
        return 0.0
    return COARSE_SCALE if step >= COARSE else 1.0
