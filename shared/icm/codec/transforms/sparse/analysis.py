"""g_a where pixels changed: each of its layers at the positions that its changed inputs reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icm.codec.latents.latents import STRIDE
from icm.codec.transforms.sparse.layers import ROWS_AT_ONCE, RowLayer, around, read_weights, weights_named
from icm.codec.transforms.sparse.planes import Grid, Mask, Plane, coarser

_FINE = 8
"""Pixels that a position of the first layers spans."""


class SparseAnalysis:
    """The layers of g_a, made from encoder.onnx; shared by all cameras."""

    def __init__(self, model: Path, threads: int, device: str) -> None:
        """Reads the network's weights from its file.

        Raises:
            BundleError: the file holds another architecture.
        """
        stored = read_weights(model)

        def named(name: str) -> NDArray[np.float32]:
            return weights_named(stored, name, model)

        def layer(name: str, taps: int, relu: bool = False, added: bool = False, scale: float = 1) -> RowLayer:
            matrix, bias = around(named(f"{name}.weight")), named(f"{name}.bias")
            return RowLayer(matrix * np.float32(scale), bias * np.float32(scale), threads, taps, relu, added)

        # Both take pixels less 127.5 where the network takes them over 255, less 0.5; it multiplies its result by 255.
        self.linear = RowLayer(around(named("linear.weight")), None, threads, 1)
        into = around(named("into.weight")) * np.float32(4 / 255)
        self.into = RowLayer(into, named("into.bias"), threads, 1, relu=True)
        self.wide_first = layer("block_wide.first", 9, relu=True)
        self.wide_second = layer("block_wide.second", 9, added=True)
        self.down = layer("down", 4, relu=True)
        self.deep_first = layer("block_deep.first", 9, relu=True)
        self.deep_second = layer("block_deep.second", 9, added=True)
        self.out = layer("out", 1, added=True, scale=255)
        self.wide, self.deep = len(named("into.bias")), len(named("down.bias"))
        self.latents = len(named("out.bias"))

    def begin(self, image: NDArray[np.uint8], levels: NDArray[np.float32]) -> AnalysisState:
        """Computes everything; image uint8[16h, 16w, 3] RGB. The level makes no difference."""
        return AnalysisState(self, image)


class AnalysisState:
    """Every layer's features of one picture, and the latents they end in."""

    def __init__(self, layers: SparseAnalysis, image: NDArray[np.uint8]) -> None:
        """Computes everything; image uint8[16h, 16w, 3] RGB."""
        self._layers = layers
        deep = Grid(image.shape[0] // STRIDE, image.shape[1] // STRIDE)
        wide = deep.finer(2)
        self._base = Plane(deep, layers.latents)
        self._entered, self._wide_inner, self._wide_out = (Plane(wide, layers.wide) for _ in range(3))
        self._downed, self._deep_inner, self._deep_out = (Plane(deep, layers.deep) for _ in range(3))
        self._latents = Plane(deep, layers.latents)
        self.update(image, deep.everything())

    @property
    def _planes(self) -> tuple[Plane, ...]:
        wide = self._entered, self._wide_inner, self._wide_out
        return self._base, *wide, self._downed, self._deep_inner, self._deep_out, self._latents

    def latents(self, mask: Mask) -> NDArray[np.float32]:
        """Those at the mask's true places, before any gain: float32[M, n]."""
        chosen: NDArray[np.float32] = self._latents.rows[self._latents.grid.positions(mask)].T
        return chosen

    def update(self, image: NDArray[np.uint8], changed: Mask) -> Mask:
        """Takes over the pixels of the blocks of the mask, bool[h, w]; returns the mask of latents that changed."""
        layers = self._layers
        for plane in self._planes:
            plane.changed = plane.grid.nothing()
        rows, columns = changed.shape
        blocks = image.reshape(rows, STRIDE, columns, STRIDE, 3).transpose(0, 2, 1, 3, 4)
        row, column = np.nonzero(changed)
        positions, children = self._base.grid.positions(changed), self._base.grid.children(changed, 2)
        for start in range(0, len(row), ROWS_AT_ONCE):
            some = slice(start, start + ROWS_AT_ONCE)
            pixels = blocks[row[some], column[some]].astype(np.float32) - np.float32(127.5)
            self._base.update(positions[some], layers.linear.dense(pixels.reshape(len(pixels), -1)))
            quarters = pixels.reshape(-1, 2, _FINE, 2, _FINE, 3).transpose(0, 1, 3, 2, 4, 5)
            entered = layers.into.dense(quarters.reshape(4 * len(pixels), -1))
            self._entered.update(children[some].ravel(), entered)
        self._wide_inner.convolve(layers.wide_first, self._entered)
        self._wide_out.convolve(layers.wide_second, self._wide_inner, self._entered)
        mask = coarser(self._wide_out.changed, 2)
        children = self._downed.grid.children(mask, 2)
        self._downed.update(self._downed.grid.positions(mask), layers.down(self._wide_out.rows, children))
        self._deep_inner.convolve(layers.deep_first, self._downed)
        self._deep_out.convolve(layers.deep_second, self._deep_inner, self._downed)
        positions = self._latents.grid.positions(self._deep_out.changed | self._base.changed)
        latents = layers.out(self._deep_out.rows, positions[:, None], self._base.rows[positions])
        self._latents.update(positions, latents)
        return self._latents.changed
