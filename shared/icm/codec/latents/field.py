"""How each position of a P record is predicted: a mode, and where that is motion, its vectors."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

VECTOR_MAX = 63
"""Pixels that a block may have moved, either way, in each direction."""


class Mode(enum.IntEnum):
    """What a position's latents are predicted from, and whether a difference is coded: odd ones have one."""

    SKIP = 0
    """As in the reference."""
    PREVIOUS = 1
    """What is there in the reference, and a difference."""
    MOTION = 2
    """One vector."""
    MOTION_DIFFERENCE = 3
    SPLIT = 4
    """Four vectors, one for each 8x8 pixels."""
    SPLIT_DIFFERENCE = 5
    BACKGROUND = 6
    """What stood there for long (``BackgroundMemory``)."""
    BACKGROUND_DIFFERENCE = 7


def has_vectors(modes: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Which modes are motion."""
    motion: NDArray[np.bool_] = (modes >= Mode.MOTION) & (modes < Mode.BACKGROUND)
    return motion


def is_split(modes: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Which modes have four vectors."""
    split: NDArray[np.bool_] = (modes >= Mode.SPLIT) & (modes < Mode.BACKGROUND)
    return split


@dataclass(frozen=True)
class Field:
    """The modes and vectors of one frame.

    Attributes:
        modes: uint8[h, w], values of ``Mode``.
        vectors: int8[2, 2h, 2w], rows and columns in pixels from a block of 8x8 to where it was in the reference, 0
            where the mode has no vectors, and the same four times where it has one.
        global_motion: the vector that most of the picture has, rows and columns: a guess for vectors that nothing else
            is known about. No later frame refers to it. 0 where nothing has a vector.
    """

    modes: NDArray[np.uint8]
    vectors: NDArray[np.int8]
    global_motion: tuple[int, int] = (0, 0)

    @staticmethod
    def without_motion(updated: NDArray[np.bool_]) -> Field:
        """The field of a frame that is coded without motion, or alone: bool[h, w], positions that moved."""
        rows, columns = updated.shape
        modes = np.where(updated, Mode.PREVIOUS, Mode.SKIP).astype(np.uint8)
        return Field(modes, np.zeros((2, 2 * rows, 2 * columns), np.int8))

    @property
    def updated(self) -> NDArray[np.bool_]:
        """bool[h, w], positions that are not held."""
        updated: NDArray[np.bool_] = self.modes != Mode.SKIP
        return updated

    @property
    def coded(self) -> NDArray[np.bool_]:
        """bool[h, w], positions that have a difference."""
        coded: NDArray[np.bool_] = (self.modes & 1) != 0
        return coded

    @property
    def has_motion(self) -> NDArray[np.bool_]:
        """bool[h, w], positions that have vectors."""
        has_motion: NDArray[np.bool_] = has_vectors(self.modes)
        return has_motion

    @property
    def from_background(self) -> NDArray[np.bool_]:
        """bool[h, w], positions that are predicted from the background."""
        from_background: NDArray[np.bool_] = self.modes >= Mode.BACKGROUND
        return from_background

    def vectors_of(self, positions: NDArray[np.int64]) -> NDArray[np.int8]:
        """Of K positions int8[2, K, 4], of each its four blocks'."""
        height, width = self.modes.shape
        blocks = self.vectors.reshape(2, height, 2, width, 2).transpose(0, 1, 3, 2, 4)
        return blocks.reshape(2, -1, 4).take(positions, axis=1)
