"""What motion says about latents: blocks of the reference's linear picture, moved, as latents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.codec.latents import STRIDE
from shared.codec.motion.linear_path import LinearPath

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
    height, width, colours = picture.shape
    # A pixel's three numbers are taken as one.
    pixels = picture.reshape(-1).view(np.dtype((np.void, picture.itemsize * colours)))
    blocks = np.empty((len(rows), 2, HALF, 2, HALF), pixels.dtype)
    reach = np.arange(HALF)
    for down in range(2):
        for right in range(2):
            # The picture's border goes on for ever outside it.
            tops, lefts = rows * STRIDE + down * HALF, columns * STRIDE + right * HALF
            lines = np.clip((tops + vectors[0, :, down, right])[:, None] + reach, 0, height - 1) * width
            places = np.clip((lefts + vectors[1, :, down, right])[:, None] + reach, 0, width - 1)
            blocks[:, down, :, right] = pixels.take(lines[:, :, None] + places[:, None])
    return path.latents(blocks.view(picture.dtype).reshape(-1, STRIDE, STRIDE, colours), quality)
