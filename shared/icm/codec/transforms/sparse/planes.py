"""Features kept by position, and the positions whose features changed.

A grid of h x w positions is kept with a border of one position on each side, whose features stay 0 and which never
changes: what convolutions with zero padding see. Its positions are numbered row by row, the border included.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icm.codec.transforms.sparse.layers import ROWS_AT_ONCE, RowLayer

Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Grid:
    """Positions in ``rows`` x ``columns``, and masks over them: bool[rows, columns], without the border."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.stride = columns + 2
        self.size = (rows + 2) * self.stride
        self.around = (np.arange(-1, 2)[:, None] * self.stride + np.arange(-1, 2)).ravel()
        """A position's 3x3 neighbourhood, relative to it."""

    def positions(self, mask: Mask) -> Positions:
        """Of the mask's true places, int64[n], row by row."""
        row, column = np.nonzero(mask)
        return (row + 1) * self.stride + column + 1

    def nothing(self) -> Mask:
        return np.zeros((self.rows, self.columns), bool)

    def everything(self) -> Mask:
        return np.ones((self.rows, self.columns), bool)

    def finer(self, factor: int) -> Grid:
        return Grid(self.rows * factor, self.columns * factor)

    def children(self, mask: Mask, factor: int) -> Positions:
        """Positions int64[n, factor * factor] on the finer grid that the mask's true places of this grid cover."""
        stride = self.columns * factor + 2
        row, column = np.nonzero(mask)
        first = (row * factor + 1) * stride + column * factor + 1
        within = (np.arange(factor)[:, None] * stride + np.arange(factor)).ravel()
        positions: Positions = first[:, None] + within
        return positions


def dilated(mask: Mask, by: int = 1) -> Mask:
    """Places within ``by`` of a true one, diagonals included."""
    for _ in range(by):
        padded = np.pad(mask, 1)
        tall = padded[:-2] | padded[1:-1] | padded[2:]
        mask = tall[:, :-2] | tall[:, 1:-1] | tall[:, 2:]
    return mask


def coarser(mask: Mask, factor: int) -> Mask:
    """Places of the coarser grid that cover a true one."""
    rows, columns = mask.shape
    covered: Mask = mask.reshape(rows // factor, factor, columns // factor, factor).any((1, 3))
    return covered


class Plane:
    """Features of one layer at all positions of a grid, as last computed.

    Attributes:
        rows: float32[positions with border, width].
        changed: mask of the positions whose features changed in this frame.
    """

    def __init__(self, grid: Grid, width: int, tolerance: float | NDArray[np.float32] = 0) -> None:
        """Creates a plane whose features were never computed.

        Args:
            tolerance: of each feature or all: smaller changes count as none.
        """
        self.grid = grid
        # Features that were never computed differ from all that come.
        self.rows = np.full((grid.size, width), np.nan, np.float32)
        border = self.rows.reshape(grid.rows + 2, grid.stride, width)
        border[[0, -1]] = border[:, [0, -1]] = 0
        self.changed = grid.nothing()
        self._tolerance = np.broadcast_to(np.float32(tolerance), width)

    def tolerate(self, tolerance: NDArray[np.float32]) -> None:
        """From now on smaller changes of a feature count as none: float32[width]."""
        self._tolerance = tolerance

    def update(self, positions: Positions, rows: NDArray[np.float32], columns: slice = slice(None)) -> None:
        """Takes over features, float32[n, columns], where they differ from those kept; elsewhere the old ones stay.

        Keeping the old ones bounds the error by the tolerance for ever: small steps do not add up.
        """
        kept = self.rows[positions, columns]
        differs = ~(np.abs(rows - kept) <= self._tolerance[columns]).all(1)
        updated = positions[differs]
        self.rows[updated, columns] = rows[differs]
        row, column = np.divmod(updated, self.grid.stride)
        self.changed[row - 1, column - 1] = True

    def convolve(self, layer: RowLayer, source: Plane, residual: Plane | None = None) -> None:
        """Computes a 3x3 convolution of the same grid where its source changed, plus the residual's features."""
        mask = dilated(source.changed)
        if residual is not None:
            mask = mask | residual.changed
        positions = self.grid.positions(mask)
        for start in range(0, len(positions), ROWS_AT_ONCE):
            some = positions[start : start + ROWS_AT_ONCE]
            added = None if residual is None else residual.rows[some]
            self.update(some, layer(source.rows, some[:, None] + self.grid.around, added))
