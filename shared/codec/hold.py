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


def hold(
    scaled: NDArray[np.float32],
    reference: NDArray[np.int16],
    changing: NDArray[np.bool_],
    resting: NDArray[np.bool_],
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Latents to code after a reference.

    Args:
        scaled: float32[M, h, w], latents in quantisation steps, not rounded.
        reference: int16[M, h, w], what the decoder holds.
        changing: bool[h, w], positions that change with this frame.
        resting: bool[h, w], positions that changed before and do not now; all others are held unseen.

    Returns:
        The latents int32[M, h, w], equal to the reference wherever they hold, and bool[h, w], positions that moved.
    """
    among = changing | resting
    here, held = scaled[:, among], reference[:, among]
    rounded = np.rint(here)
    saved = (np.square(here - held) - np.square(here - rounded)).sum(0)
    pays = saved > BIT_WORTH * np.where(changing[among], POSITION_BITS, REST_BITS)
    values = reference.astype(np.int32)
    values[:, among] = np.where(pays, rounded, held)
    moved = np.zeros_like(among)
    moved[among] = pays & (rounded != held).any(0)
    return values, moved
