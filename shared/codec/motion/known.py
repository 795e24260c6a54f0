"""What modes and vectors that are known already say about the next ones of a frame.

A frame's positions become known in four interlaced passes, as its map does (``movement``): a quarter after what the
last frame's field says, the others mostly with known neighbours on all sides. All is counting and comparing numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.codec.motion.field import Field, Mode, has_vectors

MODE_CONTEXTS = 5 * 4 * 3 * 2 * 2
VECTOR_CONTEXTS = 4 * 2 * 2 * 2
SPREADS = 4
"""How much the known vectors around differ: nothing known, not at all, little, much."""
_LITTLE = 2
"""Pixels, both directions together, by which vectors differ little."""
_FAR = 1 << 12
"""More than any sum of differences."""

Positions = NDArray[np.int64]
"""Positions of a frame, counted row by row."""


@dataclass(frozen=True)
class Guess:
    """What K vectors may be.

    Attributes:
        near: int64[2, K], of the known vectors around, the one nearest to all others; next: of those that differ from
            it again the nearest. before: the last frame's vector there or beside, the drift where there was none.
            Where nothing is known around, near is before; where nothing differs, next is near.
        spread: int64[K], see ``SPREADS``; context: int64[K], which tables hold.
    """

    near: NDArray[np.int64]
    next: NDArray[np.int64]
    before: NDArray[np.int64]
    spread: NDArray[np.int64]
    context: NDArray[np.int64]


class Known:
    """Modes and vectors of one frame as they become known."""

    def __init__(self, last: Field, drift: tuple[int, int], covered: NDArray[np.bool_]) -> None:
        """Args:
        last: the field of the frame that this one leans on; drift: of this one.
        covered: bool[h, w], where the reference is not as the background is remembered.
        """
        rows, columns = last.modes.shape
        self._columns = columns
        self._mode_stride, self._stride = columns + 2, 2 * columns + 2
        self._modes = np.zeros((rows + 2) * self._mode_stride, np.int64)
        self._last_modes = last.modes.ravel().astype(np.int64)
        self._covered = covered.ravel()
        self._drift = np.array(drift, np.int64)[:, None]
        size = (2 * rows + 2) * self._stride
        self._vectors, self._known = np.zeros((2, size), np.int64), np.zeros(size, bool)
        self._before, self._moved_before = np.zeros((2, size), np.int64), np.zeros(size, bool)
        inner = np.s_[1:-1, 1:-1]
        self._before.reshape(2, 2 * rows + 2, -1)[:, *inner] = last.vectors
        cells = last.travelled.repeat(2, 0).repeat(2, 1)
        self._moved_before.reshape(2 * rows + 2, -1)[inner] = cells
        around = np.arange(-1, 3)[:, None] * self._stride + np.arange(-1, 3)
        ring = np.ones((4, 4), bool)
        ring[1:-1, 1:-1] = False
        self._whole_ring = around[ring]
        self._cell_ring = np.delete(around[:3, :3].ravel(), 4)
        self._beside = np.array([-1, -self._stride, 2, 2 * self._stride])
        self._parts = np.array([0, 1, self._stride, self._stride + 1])

    def mode_contexts(self, positions: Positions) -> NDArray[np.int64]:
        """The table of each position's mode: by what was there last time and what is known around."""
        row, column = np.divmod(positions, self._columns)
        around = (np.arange(-1, 2)[:, None] * self._mode_stride + np.arange(-1, 2)).reshape(9, 1)
        near = self._modes[around + (row + 1) * self._mode_stride + column + 1]
        travelled = np.minimum(has_vectors(near).sum(0), 3)
        coded = np.minimum((near & 1).sum(0), 2)
        uncovered = (near >= Mode.BACKGROUND).any(0)
        before = self._last_modes[positions]
        kind = np.where(before >= Mode.BACKGROUND, 4, np.where(before >= Mode.MOTION, 2 + (before & 1), before))
        context: NDArray[np.int64] = (
            ((kind * 4 + travelled) * 3 + coded) * 2 + uncovered
        ) * 2 + self._covered[positions]  # fmt: skip
        return context

    def guess(self, positions: Positions, part: int) -> Guess:
        """Of the positions' block of 8x8 pixels number ``part``; 0 stands for the whole position as well."""
        first = self._first_cells(positions)
        cells = first + self._parts[part]
        ring = self._cell_ring if part else self._whole_ring
        near, after, count, spread = _nearest(self._vectors, self._known, cells + ring[:, None])
        before = self._last_vectors(first, cells)
        near, after = np.where(count > 0, near, before), np.where(count > 0, after, before)
        same = (near == before).all(0)
        still = (near == 0).all(0)
        context = ((spread * 2 + same) * 2 + still) * 2 + (part > 0)
        return Guess(near, after, before, spread, context)

    def _last_vectors(self, first: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """The last frame's vectors at some cells, or else beside their positions, whose first cells are given."""
        places = np.concatenate([cells[None], first + self._beside[:, None]])
        moved = self._moved_before[places]
        chosen = np.take_along_axis(places, moved.argmax(0)[None], 0)[0]
        vectors = self._before[:, chosen]
        return np.where(moved.any(0), vectors, self._drift)

    def learn_modes(self, positions: Positions, modes: NDArray[np.int64]) -> None:
        """The positions' modes are known."""
        row, column = np.divmod(positions, self._columns)
        self._modes[(row + 1) * self._mode_stride + column + 1] = modes

    def learn(self, positions: Positions, part: int, vectors: NDArray[np.int64]) -> None:
        """A block's vector is known, int64[2, K]. That of number 0 goes for the whole position until ``split``."""
        cells = self._first_cells(positions) + self._parts[part]
        self._vectors[:, cells], self._known[cells] = vectors, True
        if part == 0:
            for other in self._parts[1:]:
                self._vectors[:, cells + other], self._known[cells + other] = vectors, True

    def split(self, positions: Positions) -> None:
        """Only number 0 of the positions' blocks is known."""
        first = self._first_cells(positions)
        for other in self._parts[1:]:
            self._known[first + other] = False

    def unlearn(self, positions: Positions) -> None:
        """None of the positions' vectors is known any more."""
        self.split(positions)
        self._known[self._first_cells(positions)] = False

    def field(self, rows: int) -> Field:
        """Modes and vectors, when all are known."""
        modes = self._modes.reshape(rows + 2, -1)[1:-1, 1:-1].astype(np.uint8)
        vectors = (self._vectors * self._known).reshape(2, 2 * rows + 2, -1)[:, 1:-1, 1:-1].astype(np.int8)
        # Without vectors nobody asks for the drift; it is 0, so that a field has one form only.
        down, right = self._drift.ravel().tolist() if has_vectors(modes).any() else (0, 0)
        return Field(modes, vectors, (down, right))

    def _first_cells(self, positions: Positions) -> NDArray[np.int64]:
        row, column = np.divmod(positions, self._columns)
        return (2 * row + 1) * self._stride + 2 * column + 1


def _nearest(
    vectors: NDArray[np.int64], known: NDArray[np.bool_], cells: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of the known vectors in each column of cells int64[N, K], the one nearest to all others; the first of equals.

    Returns:
        int64[2, K], 0 where none is known; the nearest of those that differ from it, int64[2, K], the same where none
        does; how many are known, int64[K]; how much they differ (``SPREADS``), int64[K].
    """
    there, values = known[cells], vectors[:, cells]
    apart = np.abs(values[0, :, None] - values[0]) + np.abs(values[1, :, None] - values[1])
    far = np.where(there, (apart * there).sum(1), _FAR)
    every = np.arange(cells.shape[1])
    chosen = far.argmin(0)
    away = apart[chosen, :, every].T * there
    following = np.where(away > 0, far, _FAR).argmin(0)
    widest = away.max(0)
    following = np.where(widest > 0, following, chosen)
    count = there.sum(0)
    nearest, second = (values[:, which, every] * (count > 0) for which in (chosen, following))
    spread = np.where(count == 0, 0, np.where(widest == 0, 1, np.where(widest <= _LITTLE, 2, 3)))
    return nearest, second, count, spread
