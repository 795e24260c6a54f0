"""What an encoder holds: latents that stay as they were, although the picture changed a little.

A camera that stands still gives pictures that differ by noise. A position is coded anew where the error that this takes
away is worth its bits, and then whole: a few latents left behind from what was there before would be seen as a ghost.
Where something moves, the next frame will change the position again; where it came to rest, an error would stay,
so there less of it is left. Nothing drifts, as every frame's latents are compared with what the decoder holds.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BIT_WORTH = math.log(2) / 6
"""Squared error, in quantisation steps, that a bit is worth: of a uniform quantiser at high rate, D = 2**(-2R) / 12."""
POSITION_BITS = 100.0
"""What coding a position anew must save while it goes on changing."""
REST_BITS = 10.0
"""The same for a position that came to rest: what is wrong there stays wrong."""
CHANGING = 0.5
"""Quantisation steps by which some latent of a position differs from the last frame's where something moves."""


def hold(
    scaled: NDArray[np.float32], held: NDArray[np.int16], changing: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Latents to code at K positions of a frame.

    Args:
        scaled: float32[M, K], latents in quantisation steps, not rounded.
        held: int16[M, K], what the decoder holds.
        changing: bool[K], positions where something moves, by ``CHANGING``; the others came to rest.

    Returns:
        The latents int32[M, K], all of a position rounded or all as they are held, and bool[K], positions that moved.
    """
    rounded = np.rint(scaled)
    saved = (np.square(scaled - held) - np.square(scaled - rounded)).sum(0)
    pays = saved > BIT_WORTH * np.where(changing, POSITION_BITS, REST_BITS)
    moved: NDArray[np.bool_] = pays & (rounded != held).any(0)
    return np.where(moved, rounded, held).astype(np.int32), moved
