"""g_a of gated blocks where pixels changed: each block at the positions that its changed inputs reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icm.codec.latents.latents import STRIDE
from icm.codec.transforms.sparse.gated_block import GatedRows, LevelRows, gated_blocks, through
from icm.codec.transforms.sparse.layers import RowLayer, around, read_weights, weights_named
from icm.codec.transforms.sparse.planes import Grid, Mask, Plane, coarser

_FINE = 8
"""Pixels that a position of the first layers spans."""


class SparseGatedAnalysis:
    """The layers of g_a, made from encoder.onnx; shared by all cameras."""

    def __init__(self, model: Path, threads: int, device: str) -> None:
        """Reads the network's weights from its file.

        Raises:
            BundleError: the file holds another architecture.
        """
        stored = read_weights(model)

        def named(name: str) -> NDArray[np.float32]:
            return weights_named(stored, name, model)

        def layer(name: str, taps: int, added: bool = False, scale: float = 1) -> RowLayer:
            matrix, bias = around(named(f"{name}.weight")), named(f"{name}.bias")
            return RowLayer(matrix * np.float32(scale), bias * np.float32(scale), threads, taps, added=added)

        # Both take pixels less 127.5 where the network takes them over 255, less 0.5; it multiplies its result by 255.
        self.linear = RowLayer(around(named("linear.weight")), None, threads, 1)
        self.into = RowLayer(around(named("into.weight")) * np.float32(4 / 255), named("into.bias"), threads, 1)
        self.blocks_wide: list[GatedRows] = gated_blocks(stored, named, "blocks_wide", threads)
        self.down = layer("down", 4)
        self.blocks_deep: list[GatedRows] = gated_blocks(stored, named, "blocks_deep", threads)
        self.out = layer("out", 1, added=True, scale=255)
        self.wide, self.deep = len(named("into.bias")), len(named("down.bias"))
        self.level_wide = LevelRows(stored, "level_wide", self.wide)
        self.level_deep = LevelRows(stored, "level_deep", self.deep)
        self.latents = len(named("out.bias"))

    def begin(self, image: NDArray[np.uint8], levels: NDArray[np.float32]) -> GatedAnalysisState:
        """Computes everything; image uint8[16h, 16w, 3] RGB, levels float32[levels], the share of each whole level."""
        return GatedAnalysisState(self, image, levels)


class GatedAnalysisState:
    """Every block's features of one picture at one level, and the latents they end in."""

    def __init__(self, layers: SparseGatedAnalysis, image: NDArray[np.uint8], levels: NDArray[np.float32]) -> None:
        """Computes everything, see ``SparseGatedAnalysis.begin``."""
        self._layers = layers
        deep = Grid(image.shape[0] // STRIDE, image.shape[1] // STRIDE)
        wide = deep.finer(2)
        self._base, self._latents = Plane(deep, layers.latents), Plane(deep, layers.latents)
        self._wide = [Plane(wide, layers.wide) for _ in range(len(layers.blocks_wide) + 1)]
        self._deep = [Plane(deep, layers.deep) for _ in range(len(layers.blocks_deep) + 1)]
        self._level_wide, self._level_deep = layers.level_wide.at(levels), layers.level_deep.at(levels)
        self.update(image, deep.everything())

    def latents(self, mask: Mask) -> NDArray[np.float32]:
        """Those at the mask's true places, before any gain: float32[M, n]."""
        chosen: NDArray[np.float32] = self._latents.rows[self._latents.grid.positions(mask)].T
        return chosen

    def update(self, image: NDArray[np.uint8], changed: Mask) -> Mask:
        """Takes over the pixels of the blocks of the mask, bool[h, w]; returns the mask of latents that changed."""
        layers, wide, deep = self._layers, self._wide, self._deep
        for plane in (self._base, self._latents, *wide, *deep):
            plane.changed = plane.grid.nothing()
        rows, columns = changed.shape
        blocks = image.reshape(rows, STRIDE, columns, STRIDE, 3).transpose(0, 2, 1, 3, 4)[changed]
        pixels = blocks.astype(np.float32) - np.float32(127.5)
        self._base.update(self._base.grid.positions(changed), layers.linear.dense(pixels.reshape(len(pixels), -1)))
        quarters = pixels.reshape(-1, 2, _FINE, 2, _FINE, 3).transpose(0, 1, 3, 2, 4, 5)
        scale, shift = self._level_wide
        entered = layers.into.dense(quarters.reshape(4 * len(pixels), -1)) * scale + shift
        wide[0].update(self._base.grid.children(changed, 2).ravel(), entered)
        through(layers.blocks_wide, wide)
        mask = coarser(wide[-1].changed, 2)
        scale, shift = self._level_deep
        downed = layers.down(wide[-1].rows, deep[0].grid.children(mask, 2)) * scale + shift
        deep[0].update(deep[0].grid.positions(mask), downed)
        through(layers.blocks_deep, deep)
        positions = self._latents.grid.positions(deep[-1].changed | self._base.changed)
        latents = layers.out(deep[-1].rows, positions[:, None], self._base.rows[positions])
        self._latents.update(positions, latents)
        return self._latents.changed
