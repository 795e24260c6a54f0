"""What motion says about latents: blocks of the reference's linear picture, moved, as latents."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.codec.latents import STRIDE
from shared.codec.motion.linear_path import LinearPath

Number = TypeVar("Number", bound=np.generic)
HALF = STRIDE // 2
"""Side in pixels of the smallest blocks that have a vector of their own."""


class LinearPicture:
    """The linear picture of a reference; only where latents changed since the last one it is computed anew."""

    def __init__(self, path: LinearPath) -> None:
        self._path = path
        self._latents = np.empty((0, 0, 0), np.int16)
        self._quality = -1
        self._blocks = np.empty((0, 0, STRIDE, STRIDE, 3), np.int16)

    def of(self, latents: NDArray[np.int16], quality: int) -> NDArray[np.int16]:
        """Latents int16[M, h, w] -> int16[16h, 16w, 3] in sixteenths of a grey level; not to be written to."""
        rows, columns = latents.shape[1:]
        if latents.shape != self._latents.shape or quality != self._quality:
            changed = np.ones((rows, columns), bool)
            self._blocks = np.empty((rows, STRIDE, columns, STRIDE, 3), np.int16)
        else:
            changed = (latents != self._latents).any(0)
        if changed.any():
            row, column = np.nonzero(changed)
            self._blocks[row, :, column] = self._path.blocks(latents[:, changed], quality)
        self._latents, self._quality = latents, quality
        return self._blocks.reshape(rows * STRIDE, columns * STRIDE, 3)


def moved_blocks(
    picture: NDArray[Number], tops: NDArray[np.int64], lefts: NDArray[np.int64], side: int
) -> NDArray[Number]:
    """Blocks of a picture, whose border goes on for ever outside it.

    Args:
        picture: [H, W] or [H, W, 3]; tops, lefts: int64[K], of the blocks; side: in pixels.

    Returns:
        [K, side, side] or [K, side, side, 3].
    """
    reach = np.arange(side)
    rows = np.clip(tops[:, None] + reach, 0, picture.shape[0] - 1)
    columns = np.clip(lefts[:, None] + reach, 0, picture.shape[1] - 1)
    blocks: NDArray[Number] = picture[rows[:, :, None], columns[:, None, :]]
    return blocks


def predicted(
    path: LinearPath,
    picture: NDArray[np.int16],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    vectors: NDArray[np.int8],
    quality: int,
) -> NDArray[np.int32]:
    """Latents of K positions by their vectors.

    Args:
        picture: the reference's linear picture; rows, columns: int64[K], of the positions.
        vectors: int8[2, K, 2, 2], of each position's four blocks.

    Returns:
        int32[M, K], in eighths of a quantisation step.
    """
    blocks = np.empty((len(rows), STRIDE, STRIDE, 3), np.int16)
    for down in range(2):
        for right in range(2):
            tops = rows * STRIDE + down * HALF + vectors[0, :, down, right]
            lefts = columns * STRIDE + right * HALF + vectors[1, :, down, right]
            part = moved_blocks(picture, tops, lefts, HALF)
            blocks[:, down * HALF : (down + 1) * HALF, right * HALF : (right + 1) * HALF] = part
    return path.latents(blocks, quality)
