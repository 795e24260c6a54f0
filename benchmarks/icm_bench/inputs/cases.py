"""What a file of the search is, and the scenes that are in it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""uint8[H, W, 3], RGB."""


@dataclass(frozen=True)
class Case:
    """A file to read.

    Attributes:
        kind: of what is odd about it, as tables call it.
        what: that it is, in few words.
        path: where it lies.
        judge: who says what is in it.
        whole: pictures that it held before it was damaged; None where it was not.
        truth: its only picture, where its maker knows better than any reader.
        before: the pictures before it was damaged, where checksums tell of any change.
        told_by_nothing: whether the format has nothing that would tell of the damage, as a raw stream has not.
        tolerance: of the mean absolute difference between pictures.
    """

    kind: str
    what: str
    path: Path
    judge: Literal["pillow", "ffmpeg"]
    whole: int | None = None
    truth: Picture | None = None
    before: tuple[Picture, ...] | None = None
    told_by_nothing: bool = False
    tolerance: float = 4.0


def scene(dice: random.Random, width: int, height: int, number: int = 0) -> Picture:
    """A smooth picture that differs from itself however it is turned or mirrored, and from those of other numbers."""
    row, column = np.mgrid[0:height, 0:width]
    across, down = column / max(width - 1, 1), row / max(height - 1, 1)
    low, high = dice.randint(0, 60), dice.randint(150, 235)
    red = low + (high - low) * across
    green = high - (high - low) * down * 0.8
    blue = 190 - 160 * _edge(0.7 - across - 2 * down) - 5.0 * (number % 20)
    planes = np.stack([red, green, blue], -1)
    # A soft spot that moves.
    away = np.hypot(across - 0.3 - 0.02 * (number % 20), down - 0.25)
    spot = _edge(0.15 - away)[:, :, None]
    planes = (1 - spot) * planes + spot * np.array([20, 40 + 6 * (number % 20), 60])
    pixels: NDArray[np.uint8] = planes.clip(0, 255).astype(np.uint8)
    return pixels


def _edge(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    share: NDArray[np.float64] = 1 / (1 + np.exp(-25 * distance))
    return share


def size(dice: random.Random) -> tuple[int, int]:
    """Width and height, even, of no shape in particular."""
    return 2 * dice.randint(20, 60), 2 * dice.randint(16, 50)
