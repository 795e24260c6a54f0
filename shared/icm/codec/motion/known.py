"""What modes and vectors that are known already say about the next ones of a frame.

A frame's positions become known in four interlaced passes, as its map does (``entropy.skip_map``): a quarter after
what the last frame's field says, the others mostly with known neighbours on all sides. All is counting and comparing
numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icm.codec.latents.field import Field, has_vectors
from icm.codec.native import library

MODE_CONTEXTS = 5 * 4 * 3 * 2 * 2
VECTOR_CONTEXTS = 4 * 2 * 2 * 2
SPREADS = 4
"""How much the known vectors around differ: nothing known, not at all, little (two pixels, both directions together),
much."""

Positions = NDArray[np.int64]
"""Positions of a frame, counted row by row."""


@dataclass(frozen=True)
class VectorPredictors:
    """What K vectors may be.

    Attributes:
        near: int64[2, K], of the known vectors around, the one nearest to all others; where nothing is known around,
            ``before``.
        next: int64[2, K], of those that differ from ``near``, again the nearest; where nothing differs, ``near``.
        before: int64[2, K], the last frame's vector there or beside, the global motion where there was none.
        spread: int64[K], see ``SPREADS``.
        context: int64[K], which tables hold.
    """

    near: NDArray[np.int64]
    next: NDArray[np.int64]
    before: NDArray[np.int64]
    spread: NDArray[np.int64]
    context: NDArray[np.int64]


class MotionContext:
    """Modes and vectors of one frame as they become known.

    Attributes:
        native: what compiled code sees of it.
    """

    def __init__(self, last: Field, global_motion: tuple[int, int], foreground: NDArray[np.bool_]) -> None:
        """Creates the context of one frame, of which no modes and vectors are known yet.

        Args:
            last: the field of the frame that this one refers to.
            global_motion: of this frame.
            foreground: bool[h, w], where the reference is not as the background is remembered.
        """
        rows, columns = last.modes.shape
        self._rows, self._columns, self._drift = rows, columns, global_motion
        self._modes = np.zeros((rows + 2, columns + 2), np.uint8)
        self._last_modes = np.ascontiguousarray(last.modes)
        self._covered = np.ascontiguousarray(foreground)
        cells = 2 * rows + 2, 2 * columns + 2
        self._vectors, self._known = np.zeros((2, *cells), np.int16), np.zeros(cells, bool)
        self._before, self._moved_before = np.zeros((2, *cells), np.int16), np.zeros(cells, bool)
        self._before[:, 1:-1, 1:-1] = last.vectors
        self._moved_before[1:-1, 1:-1] = last.has_motion.repeat(2, 0).repeat(2, 1)
        planes = (self._last_modes, self._covered, self._modes, self._vectors, self._known, self._before)
        addresses = [plane.ctypes.data for plane in (*planes, self._moved_before)]
        self.native = library.MotionContext(rows, columns, *addresses, global_motion)

    def mode_contexts(self, positions: Positions) -> NDArray[np.int64]:
        """The table of each position's mode: by what was there last time and what is known around.

        The last mode counts as held, previous, motion, motion and a difference, or background; around, how many have
        vectors (0..3), how many have a difference (0..2), and whether any is predicted from the background.
        """
        contexts = np.empty(len(positions), np.int64)
        library.mode_contexts(self.native, positions, len(positions), contexts)
        return contexts

    def guess(self, positions: Positions, part: int) -> VectorPredictors:
        """Of the positions' block of 8x8 pixels number ``part``; 0 stands for the whole position as well."""
        vectors, numbers = np.empty((3, 2, len(positions)), np.int64), np.empty((2, len(positions)), np.int64)
        library.guess(self.native, positions, len(positions), part, vectors, numbers)
        return VectorPredictors(*vectors, *numbers)

    def choices(self, positions: Positions, part: int, vectors: NDArray[np.int64]) -> NDArray[np.int64]:
        """How the vectors of a block, int64[2, K], are coded.

        Returns:
            int64[5, K]: which choice and under which table; offset from the nearest vector, rows and columns; spread.
        """
        symbols = np.empty((5, len(positions)), np.int64)
        library.choices(self.native, positions, len(positions), part, np.ascontiguousarray(vectors), symbols)
        return symbols

    def learn_modes(self, positions: Positions, modes: NDArray[np.int64]) -> None:
        """The positions' modes are known."""
        row, column = np.divmod(positions, self._columns)
        self._modes[row + 1, column + 1] = modes

    def learn(self, positions: Positions, part: int, vectors: NDArray[np.int64]) -> None:
        """A block's vector is known, int64[2, K]. That of number 0 goes for the whole position until ``split``."""
        library.learn(self.native, positions, len(positions), part, np.ascontiguousarray(vectors))

    def split(self, positions: Positions) -> None:
        """Only number 0 of the positions' blocks is known."""
        library.forget(self.native, positions, len(positions), 1)

    def field(self) -> Field:
        """Modes and vectors, when all are known."""
        modes = self._modes[1:-1, 1:-1].copy()
        vectors = (self._vectors * self._known)[:, 1:-1, 1:-1].astype(np.int8)
        # Without vectors nobody asks for the drift; it is 0, so that a field has one form only.
        return Field(modes, vectors, self._drift if has_vectors(modes).any() else (0, 0))
