"""Which blocks of a picture changed, as a camera that stands still sees it: not by noise."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from icm.codec.latents.latents import STRIDE

NOISE_THRESHOLD = 8.0
"""Grey levels; twice what an ordinary camera's or a codec's noise does to the mean of 4x4 pixels."""
_PART = 4
"""Side in pixels of the parts of a block that are looked at by themselves, so that a thin edge is not averaged away."""
_MEAN_SHARE = 3
"""A whole block's mean colour is this many times less noisy, and counts at this fraction of the threshold."""
_QUIET_SHARE = 0.2
"""Of the parts, so many taken to show nothing but noise: the loudest of them says how loud that is."""
_NOISE_FACTOR = 1.8
"""From there to a threshold that one part in ten thousand passes by noise alone, if it is independent in each pixel."""
_NOISE_FRAMES = 32
"""For so many frames the least noise counts, so that what moves everywhere for a while is not taken for noise."""
_FEWEST_FRAMES = 4
"""Seen before noise is known."""
_MOST_NOISE = 3.0
"""The threshold grows by this factor at most, so that no scene can hide what moves in it."""


class ChangeDetector:
    """Finds the blocks that changed in one camera's pictures, and learns how noisy these are. Not thread-safe."""

    def __init__(self, threshold: float = NOISE_THRESHOLD) -> None:
        """Creates a detector that has seen no pictures yet.

        Args:
            threshold: in grey levels, of a camera with little noise; 0 for every pixel that changes.
        """
        self._threshold = threshold
        self._noise: deque[float] = deque(maxlen=_NOISE_FRAMES)

    def changed(self, image: NDArray[np.uint8], kept: NDArray[np.uint8], most: float) -> NDArray[np.bool_]:
        """Compares two pictures in blocks of 16x16 pixels.

        A block has changed when in some 4x4 part of it the mean absolute difference exceeds the threshold, which noise
        raises, or when its mean colour moved by more than a third of what it is without noise, as slow changes of the
        light make it do. With a threshold of 0 it has changed when any pixel has.

        Args:
            image: uint8[16h, 16w, 3].
            kept: uint8[16h, 16w, 3].
            most: a share of the blocks; once more than these have changed, the rest may go unexamined.

        Returns:
            bool[h, w].
        """
        rows, columns = image.shape[0] // STRIDE, image.shape[1] // STRIDE
        if self._threshold == 0:
            pixels = (image != kept).reshape(rows, STRIDE, columns, 3 * STRIDE)
            differs: NDArray[np.bool_] = pixels.any((1, 3))
            return differs
        drift = np.abs(_block_sums(image) - _block_sums(kept))
        changed: NDArray[np.bool_] = drift > self._threshold / _MEAN_SHARE * 3 * STRIDE * STRIDE
        if changed.mean() > most:
            return changed
        sums = _part_sums(np.maximum(image, kept) - np.minimum(image, kept))
        parts = sums > self._learned(sums) * 3 * _PART * _PART
        side = STRIDE // _PART
        changed |= parts.reshape(rows, side, columns, side).any((1, 3))
        return changed

    def _learned(self, sums: NDArray[np.uint16]) -> float:
        """The threshold of these parts' mean absolute differences."""
        place = int(_QUIET_SHARE * (sums.size - 1))
        self._noise.append(float(np.partition(sums, place, axis=None)[place]) / (3 * _PART * _PART))
        if len(self._noise) < _FEWEST_FRAMES:
            return self._threshold
        return min(max(self._threshold, _NOISE_FACTOR * min(self._noise)), _MOST_NOISE * self._threshold)


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
