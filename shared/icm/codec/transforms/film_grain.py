"""Grain: faint fixed noise over decoded pictures.

At low rates a decoder leaves the finest detail all but empty, and there the last remains of its own blocks stand out,
though they lie far below a grey level. Grain of known strength fills it, as film grain synthesis does in video codecs.
It is the same in every frame, so what stands still stays still.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from icm.codec.latents.latents import QUALITY_STEPS

_SIDE = 1024
"""Pixels after which the grain repeats."""


class Grain:
    """The grain of a bundle, stronger where the quality is low."""

    def __init__(self, deviations: Sequence[float]) -> None:
        """Creates the grain of a bundle.

        Args:
            deviations: standard deviation at each quality level, in grey levels; empty for no grain.
        """
        self._deviations = tuple(deviations)

    def deviation(self, quality: int) -> float:
        """The grain's standard deviation in grey levels, at a quality in sixteenths of a level."""
        if not self._deviations:
            return 0.0
        levels = np.arange(len(self._deviations)) * QUALITY_STEPS
        return float(np.interp(quality, levels, self._deviations))

    def over(self, picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
        """The picture, uint8[H, W, 3], with the grain of its quality, the same in all three planes."""
        deviation = self.deviation(quality)
        if not deviation:
            return picture
        up, down = _steps(deviation, *picture.shape[:2])
        # Kept from wrapping around at white and black.
        brighter = np.minimum(picture, 255 - up) + up
        grained: NDArray[np.uint8] = np.maximum(brighter, down) - down
        return grained


@lru_cache(maxsize=16)
def _steps(deviation: float, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """How many grey levels each value goes up, and how many down: uint8[height, width, 3] each."""
    noise = np.random.Generator(np.random.PCG64(1)).standard_normal((_SIDE, _SIDE), np.float32)
    repeats = -(-height // _SIDE), -(-width // _SIDE)
    steps = np.tile(np.rint(noise * deviation).astype(np.int8), repeats)[:height, :width, None].repeat(3, 2)
    return np.maximum(steps, 0).astype(np.uint8), np.maximum(-steps, 0).astype(np.uint8)
