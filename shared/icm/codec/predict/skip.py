"""What an encoder holds: latents that stay as they were, although the picture changed a little.

A camera that stands still gives pictures that differ by noise. A position is coded anew where the error that this takes
away is worth its bits, and then whole: a few latents left behind from what was there before would be seen as a ghost.
Nothing drifts, as every frame's latents are compared with what the decoder holds.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

RD_LAMBDA = math.log(2) / 6
"""Squared error, in quantisation steps, that a bit is worth: of a uniform quantiser at high rate, D = 2**(-2R) / 12."""
SKIP_THRESHOLD_BITS = 25.0
"""What coding a position anew must save. It costs several times as much, but what is wrong stays wrong until it is
coded, and that is mostly where something moves."""


def skip_decision(scaled: NDArray[np.float32], held: NDArray[np.int16]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Latents to code at K positions of a frame.

    Args:
        scaled: float32[M, K], latents in quantisation steps, not rounded.
        held: int16[M, K], what the decoder holds.

    Returns:
        The latents int32[M, K], all of a position rounded or all as they are held, and bool[K], positions that moved.
    """
    rounded = np.rint(scaled)
    # In place, as these are the largest arrays of an encoder that sees everything move.
    error, left = scaled - held, scaled - rounded
    np.square(error, out=error)
    error -= np.square(left, out=left)
    saved = error.sum(0)
    updated: NDArray[np.bool_] = (saved > RD_LAMBDA * SKIP_THRESHOLD_BITS) & (rounded != held).any(0)
    return np.where(updated, rounded, held).astype(np.int32), updated
