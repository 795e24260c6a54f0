"""Which blocks of a picture changed, as a camera that stands still sees it: not by noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.codec.latents import STRIDE

_PART = 4
"""Side in pixels of the parts of a block that are looked at by themselves, so that a thin edge is not averaged away."""
_MEAN_SHARE = 3
"""A whole block's mean colour is this many times less noisy, and counts at this fraction of the threshold."""


def changed_blocks(
    image: NDArray[np.uint8], kept: NDArray[np.uint8], threshold: float, most: float
) -> NDArray[np.bool_]:
    """Compares two pictures in blocks of 16x16 pixels.

    A block has changed when in some 4x4 part of it the mean absolute difference exceeds the threshold, or when its mean
    colour moved by more than a third of that, as slow changes of the light make it do. With a threshold of 0 it
    has changed when any pixel has.

    Args:
        image, kept: uint8[16h, 16w, 3].
        threshold: grey levels, 0..255.
        most: a share of the blocks; once more than these have changed, the rest may go unexamined.

    Returns:
        bool[h, w].
    """
    rows, columns = image.shape[0] // STRIDE, image.shape[1] // STRIDE
    if threshold == 0:
        pixels = (image != kept).reshape(rows, STRIDE, columns, 3 * STRIDE)
        differs: NDArray[np.bool_] = pixels.any((1, 3))
        return differs
    drift = np.abs(_block_sums(image) - _block_sums(kept))
    changed: NDArray[np.bool_] = drift > threshold / _MEAN_SHARE * 3 * STRIDE * STRIDE
    if changed.mean() > most:
        return changed
    parts = _part_sums(np.maximum(image, kept) - np.minimum(image, kept)) > threshold * 3 * _PART * _PART
    side = STRIDE // _PART
    changed |= parts.reshape(rows, side, columns, side).any((1, 3))
    return changed


def _block_sums(image: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Of the pixels of each block: int32[h, w]."""
    height, width, _ = image.shape
    lines = image.reshape(height // STRIDE, STRIDE, 3 * width).sum(1, dtype=np.uint16)
    sums: NDArray[np.int32] = lines.reshape(len(lines), -1, 3 * STRIDE).sum(2, dtype=np.int32)
    return sums


def _part_sums(image: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Of the pixels of each 4x4 part: uint16[4h, 4w]. Sums of slices, as NumPy is slow along short axes."""
    height, width, _ = image.shape
    lines = image.reshape(height // _PART, _PART, 3 * width)
    tall = lines[:, 0].astype(np.uint16)
    for row in range(1, _PART):
        tall += lines[:, row]
    places = tall.reshape(len(tall), -1, 3 * _PART)
    sums: NDArray[np.uint16] = places[:, :, 0].copy()
    for place in range(1, 3 * _PART):
        sums += places[:, :, place]
    return sums
