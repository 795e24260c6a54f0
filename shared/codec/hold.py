"""What an encoder holds: latents that stay as they were, although the picture changed a little.

A camera that stands still gives pictures that differ by noise. A latent is coded anew where the error that this takes
away is worth its bits, and a position is touched where that pays for telling so. Nothing drifts, as every frame's
latents are compared with what the decoder holds.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BIT_WORTH = math.log(2) / 6
"""Squared error, in quantisation steps, that a bit is worth: of a uniform quantiser at high rate, D = 2**(-2R) / 12."""
LATENT_BITS = 7.0
"""About what a latent takes that differs from its last value."""
POSITION_BITS = 24.0
"""What a position must save beyond the bits of its latents: its flag, its share of computing, immunity to noise."""


def hold(
    scaled: NDArray[np.float32], reference: NDArray[np.int16], among: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Latents to code after a reference.

    Args:
        scaled: float32[M, h, w], latents in quantisation steps, not rounded.
        reference: int16[M, h, w], what the decoder holds.
        among: bool[h, w], positions that may have moved; the others are held unseen.

    Returns:
        The latents int32[M, h, w], equal to the reference wherever they hold, and bool[h, w], positions that moved.
    """
    here, held = scaled[:, among], reference[:, among]
    rounded = np.rint(here)
    saved = np.square(here - held) - np.square(here - rounded)
    worth = np.maximum(saved - LATENT_BITS * BIT_WORTH, 0)
    pays = worth.sum(0) > POSITION_BITS * BIT_WORTH
    values = reference.astype(np.int32)
    values[:, among] = np.where((worth > 0) & pays, rounded, held)
    moved = np.zeros_like(among)
    moved[among] = pays
    return values, moved
