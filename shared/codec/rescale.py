"""Latents of one quality as those of another, in integer arithmetic: what a P record of a new quality leans on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.codec.latents import LATENT_MAX, QUALITY_STEPS

OCTAVE_STEPS = 4096
"""Units per factor of two."""
_FRACTION_BITS = 20
_POWERS = np.rint(np.exp2(np.arange(OCTAVE_STEPS) / OCTAVE_STEPS) * (1 << _FRACTION_BITS)).astype(np.int64)
"""2**(k/4096) in 1/2**20. No entry is near enough to a half for two machines to round it differently (tested)."""


def rescale(values: NDArray[np.int16], octaves: NDArray[np.int32], old: int, new: int) -> NDArray[np.int16]:
    """Latents as if they had been quantised at another quality.

    Args:
        values: int16[M, h, w].
        octaves: int32[levels, M], logarithms of the gains in 1/4096 octaves.
        old, new: quality of the values and of the result, in sixteenths of a level.

    Returns:
        int16[M, h, w], rounded half away from zero and clipped to the latents' range.
    """
    if old == new:
        return values
    exponent = _interpolated(octaves, new) - _interpolated(octaves, old)
    whole, part = np.divmod(exponent, OCTAVE_STEPS)
    # From 15 octaves up a one is clipped already, from 17 down the largest latent is 0 already.
    whole = np.clip(whole, -17, 15)
    mantissa = _POWERS[part]
    shift = (_FRACTION_BITS - whole).astype(np.int64)
    magnitude = np.abs(values.astype(np.int64)) * mantissa[:, None, None]
    rounded = (magnitude + (np.int64(1) << (shift - 1))[:, None, None]) >> shift[:, None, None]
    result: NDArray[np.int16] = (np.sign(values) * np.minimum(rounded, LATENT_MAX)).astype(np.int16)
    return result


def _interpolated(octaves: NDArray[np.int32], quality: int) -> NDArray[np.int64]:
    level, part = divmod(quality, QUALITY_STEPS)
    low, high = (octaves[min(n, len(octaves) - 1)].astype(np.int64) for n in (level, level + 1))
    result: NDArray[np.int64] = (low * (QUALITY_STEPS - part) + high * part) // QUALITY_STEPS
    return result
