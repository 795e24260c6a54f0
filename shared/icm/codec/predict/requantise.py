"""Latents of one quality as those of another, in integer arithmetic: what a P record of a new quality refers to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm.codec.latents.latents import LATENT_MAX, QUALITY_STEPS

OCTAVE_STEPS = 4096
"""Units per factor of two."""
_FRACTION_BITS = 20
_POWERS = np.rint(np.exp2(np.arange(OCTAVE_STEPS) / OCTAVE_STEPS) * (1 << _FRACTION_BITS)).astype(np.int64)
"""2**(k/4096) in 1/2**20. No entry is near enough to a half for two machines to round it differently (tested)."""


def requantise(values: NDArray[np.int16], octaves: NDArray[np.int32], old: int, new: int) -> NDArray[np.int16]:
    """Latents as if they had been quantised at another quality.

    Args:
        values: int16[M, h, w].
        octaves: int32[levels, M], logarithms of the gains in 1/4096 octaves.
        old: quality of the values, in sixteenths of a level.
        new: quality of the result, in sixteenths of a level.

    Returns:
        int16[M, h, w], rounded half away from zero and clipped to the latents' range.
    """
    if old == new:
        return values
    exponent = octaves_at(octaves, new) - octaves_at(octaves, old)
    result: NDArray[np.int16] = times_power(values, exponent[:, None, None], LATENT_MAX).astype(np.int16)
    return result


def times_power(values: NDArray[Any], exponent: NDArray[np.int64], largest: int) -> NDArray[np.int64]:
    """values * 2**(exponent / 4096), rounded half away from zero and clipped to -largest..largest, in integers only.

    Args:
        values: whole numbers of at most 2**41.
        exponent: in 1/4096 octaves, of a shape that fits.
        largest: below 2**19.
    """
    factor, shift, most = powers_of(exponent, largest)
    magnitude = np.minimum(np.abs(values.astype(np.int64)), most)
    rounded = (magnitude * factor + (np.int64(1) << (shift - 1))) >> shift
    result: NDArray[np.int64] = np.sign(values) * np.minimum(rounded, largest)
    return result


def powers_of(exponent: NDArray[np.int64], largest: int) -> NDArray[np.int64]:
    """2**(exponent / 4096) as whole numbers, int64[3, ...]; arguments as in ``times_power``.

    The factor, the bits by which a product with it is shifted back, and the magnitude to which values are cut off
    before: such can only end up clipped, and no product overflows.
    """
    whole, part = np.divmod(exponent, OCTAVE_STEPS)
    # From 19 octaves up a one is clipped already, from 42 down the largest value is 0 already.
    whole = np.clip(whole, -42, _FRACTION_BITS - 1)
    most = (np.int64(largest) + 1) << np.maximum(-whole, 0)
    return np.stack([_POWERS[part], _FRACTION_BITS - whole, most])


def octaves_at(octaves: NDArray[np.int32], quality: int) -> NDArray[np.int64]:
    """The logarithms at a quality in sixteenths of a level, int64[M]: between levels interpolated, rounded down."""
    level, part = divmod(quality, QUALITY_STEPS)
    low, high = (octaves[min(n, len(octaves) - 1)].astype(np.int64) for n in (level, level + 1))
    result: NDArray[np.int64] = (low * (QUALITY_STEPS - part) + high * part) // QUALITY_STEPS
    return result
