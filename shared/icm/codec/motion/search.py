"""Where blocks of a picture were in the reference: the encoder's search. It decides bits, not how they decode.

A quarter of the resolution is searched fully, what is found there is refined at full resolution, and neighbours, the
last frame's vectors and resting are tried as well. All pictures here are brightness alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icm.codec.latents.field import VECTOR_MAX, Field
from icm.codec.motion.known import Positions
from icm.codec.native import library

BRIGHTNESS_STEPS = 4
"""Units of brightness per grey level."""
_COARSE = 4
"""Pixels that one of the coarse pictures spans."""
_REACH = 8
"""Coarse pixels that the full search goes, either way."""
OWN = 1
"""Which of the candidates is the one that was searched for."""


def brightness(picture: NDArray[np.uint8] | NDArray[np.int16]) -> NDArray[np.int16]:
    """A picture uint8[H, W, 3], or a linear one, in quarters of a grey level above the middle one, int16[H, W]."""
    result = np.empty(picture.shape[:2], np.int16)
    of = library.brightness_of_picture if picture.dtype == np.uint8 else library.brightness_of_linear
    of(np.ascontiguousarray(picture), result.size, result)
    return result


class Matching:
    """Compares blocks of a picture with blocks of the reference.

    Attributes:
        native: what compiled code sees of it.
    """

    def __init__(self, source: NDArray[np.int16], reference: NDArray[np.int16]) -> None:
        """Prepares the search for vectors between two pictures.

        Args:
            source: int16[H, W], ``brightness``, sides multiples of 16.
            reference: int16[H, W], ``brightness``, sides multiples of 16.
        """
        self.source, self.reference = source, reference
        self.native = library.Pictures(*source.shape, source.ctypes.data, reference.ctypes.data)

    def found(self, positions: Positions) -> NDArray[np.int64]:
        """Of K positions the vectors that match best, int64[2, K]."""
        small = np.pad(_small(self.reference), _REACH, mode="edge")
        vectors = np.empty((2, len(positions)), np.int64)
        library.search(self.native, _small(self.source), small, positions, len(positions), vectors)
        return vectors


def candidates(matching: Matching, positions: Positions, last: Field) -> NDArray[np.int64]:
    """Vectors that are worth a look, for each of K positions: int64[2, C, K], the first no motion."""
    own = matching.found(positions)
    height, width = last.modes.shape
    rows, columns = np.divmod(positions, width)
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


def _small(picture: NDArray[np.int16]) -> NDArray[np.int16]:
    """At a quarter of the resolution, int16[H / 4, W / 4]."""
    lines = picture.reshape(-1, _COARSE, picture.shape[1]).sum(1, dtype=np.int16)
    columns = lines.reshape(len(lines), -1, _COARSE)
    # Slices, as NumPy is slow along short axes.
    sums = columns[..., 0] + columns[..., 1] + columns[..., 2] + columns[..., 3]
    small: NDArray[np.int16] = sums >> 4
    return small
