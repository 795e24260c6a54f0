"""Where blocks of a picture were in the reference: the encoder's search. It decides bits, not how they decode.

A quarter of the resolution is searched fully, what is found there is refined at full resolution, and neighbours, the
last frame's vectors and resting are tried as well. All pictures here are brightness alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.codec.latents import STRIDE
from shared.codec.motion.field import VECTOR_MAX, Field
from shared.codec.motion.linear_path import LEVEL_STEPS
from shared.codec.motion.prediction import HALF

_COARSE = 4
"""Pixels that one of the coarse pictures spans."""
_REACH = 8
"""Coarse pixels that the full search goes, either way."""
_SIDE = STRIDE // _COARSE
_PADDING = VECTOR_MAX + 1
"""Pixels by which the reference's border goes on outside it."""
OWN = 1
"""Which of the candidates is the one that was searched for."""


def brightness(picture: NDArray[np.uint8] | NDArray[np.int16]) -> NDArray[np.float32]:
    """A picture uint8[H, W, 3], or a linear one, in grey levels above the middle one, float32[H, W]."""
    green = picture[..., 1].astype(np.int16)
    weighted = (green + green + picture[..., 0] + picture[..., 2]).astype(np.float32)
    if picture.dtype == np.uint8:
        return weighted * np.float32(0.25) - np.float32(127.5)
    return weighted * np.float32(0.25 / LEVEL_STEPS)


class Matching:
    """Compares blocks of a picture with blocks of the reference, each position's four blocks of 8x8 pixels apart."""

    def __init__(self, source: NDArray[np.float32], reference: NDArray[np.float32]) -> None:
        """Args: both float32[H, W], ``brightness``, sides multiples of 16."""
        self.source, self.reference = source, reference
        padded = np.pad(reference, _PADDING, mode="edge")
        self._padded, self._stride = padded.ravel(), padded.shape[1]
        within = np.arange(HALF)[:, None] * self._stride + np.arange(HALF)
        first = np.array([0, HALF, HALF * self._stride, HALF * self._stride + HALF])
        self._offsets = first[:, None] + within.ravel()
        rows, columns = source.shape[0] // STRIDE, source.shape[1] // STRIDE
        halves = source.reshape(rows, 2, HALF, columns, 2, HALF).transpose(0, 3, 1, 4, 2, 5)
        self._blocks = np.ascontiguousarray(halves).reshape(rows, columns, 4, HALF * HALF)

    def whole(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], vectors: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Sums of squared differences of K positions moved by C vectors each.

        Args:
            rows, columns: int64[K]; vectors: int64[2, C, K].

        Returns:
            float32[C, K, 4], of each block of 8x8 pixels.
        """
        there = self._padded.take(self._corners(rows, columns, vectors)[..., None, None] + self._offsets)
        there -= self._blocks[rows, columns]
        sums: NDArray[np.float32] = np.einsum("ckpi,ckpi->ckp", there, there)
        return sums

    def part(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], part: int, vectors: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The same of one of the four blocks only, float32[C, K]."""
        there = self._padded.take(self._corners(rows, columns, vectors)[..., None] + self._offsets[part])
        there -= self._blocks[rows, columns, part]
        sums: NDArray[np.float32] = np.einsum("cki,cki->ck", there, there)
        return sums

    def _corners(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], vectors: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        corners: NDArray[np.int64] = (rows * STRIDE + _PADDING + vectors[0]) * self._stride
        corners += columns * STRIDE + _PADDING + vectors[1]
        return corners


def candidates(
    matching: Matching, rows: NDArray[np.int64], columns: NDArray[np.int64], last: Field
) -> NDArray[np.int64]:
    """Vectors that are worth a look, for each of K positions: int64[2, C, K], the first no motion."""
    own = _refined(matching, rows, columns, _coarse(matching, rows, columns))
    height, width = last.modes.shape
    found = np.zeros((2, height + 2, width + 2), np.int64)
    found[:, rows + 1, columns + 1] = own
    around = [found[:, rows + 1 + down, columns + 1 + right] for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))]
    before = [last.vectors[:, 2 * rows + part // 2, 2 * columns + part % 2].astype(np.int64) for part in (0, 3)]
    return np.stack([np.zeros_like(own), own, *around, *before], 1)


def most_common(vectors: NDArray[np.int64]) -> tuple[int, int]:
    """The vector that most of int64[2, K] are; none where less than a third agree."""
    span = 2 * VECTOR_MAX + 1
    numbers = (vectors[0] + VECTOR_MAX) * span + vectors[1] + VECTOR_MAX
    counts = np.bincount(numbers)
    best = int(counts.argmax())
    if 3 * counts[best] < len(numbers):
        return 0, 0
    return best // span - VECTOR_MAX, best % span - VECTOR_MAX


def picked(vectors: NDArray[np.int64], best: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of int64[2, C, K] the one of each column that ``best``, int64[K], says: int64[2, K]."""
    chosen: NDArray[np.int64] = np.take_along_axis(vectors, best[None, None], 1)[:, 0]
    return chosen


def _coarse(matching: Matching, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """The best vectors at a quarter of the resolution, in pixels: int64[2, K]."""
    source, reference = _small(matching.source), _small(matching.reference)
    padded = np.pad(reference, _REACH, mode="edge")
    steps = 2 * _REACH + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_SIDE, _SIDE))
    all_windows = np.lib.stride_tricks.sliding_window_view(windows, (steps, steps), (0, 1))  # type: ignore[call-overload]
    there = all_windows[rows * _SIDE, columns * _SIDE].transpose(0, 3, 4, 1, 2).reshape(len(rows), steps * steps, -1)
    blocks = source.reshape(-1, _SIDE, source.shape[1] // _SIDE, _SIDE)
    here = blocks[rows, :, columns].reshape(len(rows), -1, 1)
    # Squared differences less what does not depend on the vector; a little against long ones.
    costs = np.square(there).sum(2) - 2 * (there @ here)[..., 0]
    away = np.abs(np.arange(-_REACH, _REACH + 1, dtype=np.float32))
    costs += 2 * (away[:, None] + away).ravel()
    best = costs.argmin(1)
    vectors: NDArray[np.int64] = _COARSE * np.stack([best // steps - _REACH, best % steps - _REACH])
    return vectors


def _refined(
    matching: Matching, rows: NDArray[np.int64], columns: NDArray[np.int64], vectors: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The best whole positions' vectors near some, int64[2, K] each."""
    step = np.stack(np.meshgrid(np.arange(-1, 2), np.arange(-1, 2), indexing="ij")).reshape(2, 9, 1)
    for size in (2, 1):
        near = np.clip(vectors[:, None] + size * step, -VECTOR_MAX, VECTOR_MAX)
        best = matching.whole(rows, columns, near).sum(2).argmin(0)
        vectors = picked(near, best)
    return vectors


def _small(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    lines = picture.reshape(-1, _COARSE, picture.shape[1]).sum(1)
    columns = lines.reshape(len(lines), -1, _COARSE)
    # Slices, as NumPy is slow along short axes.
    sums: NDArray[np.float32] = columns[..., 0] + columns[..., 1] + columns[..., 2] + columns[..., 3]
    sums /= np.float32(_COARSE * _COARSE)
    return sums
