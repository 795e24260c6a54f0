"""g_s of gated blocks where latents changed: each block at the positions that its changed inputs reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icm.codec.latents.latents import STRIDE
from icm.codec.transforms.sparse.gated_block import GatedRows, LevelRows, gated_blocks, through
from icm.codec.transforms.sparse.layers import RowLayer, around, read_weights, weights_named
from icm.codec.transforms.sparse.planes import Grid, Mask, Plane, dilated
from icm.codec.transforms.sparse.synthesis import (
    FINE,
    PIXELS,
    before_shuffle,
    linear_pixels,
    pixel_by_pixel,
    shuffled,
    tolerance_of,
)

LARGEST_FEATURE = 64.0
"""Beyond it float32's rounding may show in pixels. Those of photos and of noise stay below 14 at all levels; of random
latents a pixel that was off by more than 1 was first met at 185."""


class SparseGatedSynthesis:
    """The layers of g_s, made from a decoder's network; shared by all cameras."""

    def __init__(self, model: Path, threads: int, device: str) -> None:
        """Reads the network's weights from its file.

        Raises:
            BundleError: the file holds another architecture.
        """
        stored = read_weights(model)

        def named(name: str) -> NDArray[np.float32]:
            return weights_named(stored, name, model)

        self.entry = RowLayer(around(named("entry.weight")) / np.float32(64), named("entry.bias"), threads, 1)
        self.blocks_deep: list[GatedRows] = gated_blocks(stored, named, "blocks_deep", threads)
        self.up_wide = shuffled(named("up_wide.weight"), named("up_wide.bias"), threads, relu=False)
        self.blocks_wide: list[GatedRows] = gated_blocks(stored, named, "blocks_wide", threads)
        self.up_fine = shuffled(named("up_fine.weight"), named("up_fine.bias"), threads, relu=False)
        self.linear = linear_pixels(named("linear.weight"), threads)
        mix = named("mix.weight").copy()
        self.learned = mix.shape[1] - PIXELS
        """How many features are not pixels of the linear part, of those that ``mix`` sees."""
        mix[:, self.learned :] = pixel_by_pixel(mix[:, self.learned :], axis=1) * np.float32(4 / 255)
        self.mix = RowLayer(around(mix), named("mix.bias"), threads, 1)
        self.blocks_fine: list[GatedRows] = gated_blocks(stored, named, "blocks_fine", threads)
        out = around(pixel_by_pixel(named("out.weight"), axis=0)) * np.float32(0.2 * 255)
        bias = pixel_by_pixel(named("out.bias"), axis=0) * np.float32(0.2 * 255) + np.float32(127.5)
        self.out = RowLayer(out, bias, threads, 9, added=True)
        self.widths = {"deep": len(named("entry.bias")), "fine": len(named("mix.bias"))}
        self.widths["wide"] = len(named("up_wide.bias")) // 4
        self.levels = {name: LevelRows(stored, f"level_{name}", width) for name, width in self.widths.items()}

    def begin(self, latents: NDArray[np.float32], levels: NDArray[np.float32], tolerance: float) -> GatedSynthesisState:
        """Computes everything.

        Args:
            latents: float32[M, h, w], inverse gains applied.
            levels: float32[levels], the share of each whole level.
            tolerance: grey levels of a pixel that a block may be off for not having followed small changes.
        """
        return GatedSynthesisState(self, latents, levels, tolerance)


class GatedSynthesisState:
    """Every block's features of one picture at one level, and the picture they end in."""

    def __init__(
        self,
        layers: SparseGatedSynthesis,
        latents: NDArray[np.float32],
        levels: NDArray[np.float32],
        tolerance: float,
    ) -> None:
        """Computes everything, see ``SparseGatedSynthesis.begin``."""
        self._layers = layers
        grid = Grid(*latents.shape[1:])
        grids = {"deep": grid, "wide": grid.finer(2), "fine": grid.finer(4)}
        blocks = {"deep": layers.blocks_deep, "wide": layers.blocks_wide, "fine": layers.blocks_fine}
        # Before the first block and after each.
        self._planes = {
            name: [Plane(grids[name], layers.widths[name]) for _ in range(len(blocks[name]) + 1)] for name in grids
        }
        # What ``mix`` sees: the learned features, then the pixels of the linear part.
        self._mixed = Plane(grids["fine"], layers.learned + PIXELS)
        self._levels = {name: rows.at(levels) for name, rows in layers.levels.items()}
        self.picture = np.zeros((grid.rows * STRIDE, grid.columns * STRIDE, 3), np.uint8)
        """uint8[16h, 16w, 3] RGB."""
        self.exact = True
        """Whether the picture is within 1 of the whole network's; where it is not, this state is of no more use."""
        self.update(latents.reshape(len(latents), -1).T, grid.everything())
        if self.exact:
            self._tolerate(tolerance)

    def update(self, latents: NDArray[np.float32], changed: Mask) -> None:
        """Takes over the latents, float32[n, M], of the true places of the mask, bool[h, w]; see ``exact``."""
        layers = self._layers
        deep, wide, fine = (self._planes[name] for name in ("deep", "wide", "fine"))
        for plane in (*deep, *wide, *fine, self._mixed):
            plane.changed = plane.grid.nothing()
        rows, grid = np.ascontiguousarray(latents), deep[0].grid
        flat = layers.linear.dense(rows).reshape(-1, PIXELS)
        self._mixed.update(grid.children(changed, STRIDE // FINE).ravel(), flat, slice(layers.learned, None))
        scale, shift = self._levels["deep"]
        deep[0].update(grid.positions(changed), layers.entry.dense(rows) * scale + shift)
        through(layers.blocks_deep, deep)
        self._spread(layers.up_wide, deep[-1], wide[0], self._levels["wide"])
        through(layers.blocks_wide, wide)
        # They are the largest of all, as eight blocks have added to them. What is not a number is no smaller.
        last = wide[-1]
        self.exact = bool((np.abs(last.rows[last.grid.positions(last.changed)]) <= LARGEST_FEATURE).all())
        if not self.exact:
            return
        plain = np.ones(layers.learned, np.float32), np.zeros(layers.learned, np.float32)
        self._spread(layers.up_fine, wide[-1], self._mixed, plain, slice(layers.learned))
        positions = self._mixed.grid.positions(self._mixed.changed)
        scale, shift = self._levels["fine"]
        fine[0].update(positions, layers.mix(self._mixed.rows, positions[:, None]) * scale + shift)
        through(layers.blocks_fine, fine)
        self._show(dilated(fine[-1].changed) | self._mixed.changed)

    def _spread(
        self,
        layer: RowLayer,
        source: Plane,
        target: Plane,
        level: tuple[NDArray[np.float32], NDArray[np.float32]],
        columns: slice = slice(None),
    ) -> None:
        """A layer of one tap before a pixel shuffle by 2, scaled and shifted, where its source changed."""
        positions = source.grid.positions(source.changed)
        children = source.grid.children(source.changed, 2).ravel()
        rows = layer(source.rows, positions[:, None]).reshape(len(children), target.rows[:, columns].shape[1])
        target.update(children, rows * level[0] + level[1], columns)

    def _show(self, mask: Mask) -> None:
        """Draws the pixels of the true places of the mask."""
        fine, last = self._mixed.grid, self._planes["fine"][-1]
        positions = fine.positions(mask)
        added = self._mixed.rows[positions, self._layers.learned :]
        colours = self._layers.out(last.rows, positions[:, None] + fine.around, added)
        patches = np.rint(colours.clip(0, 255)).astype(np.uint8).reshape(-1, FINE, FINE, 3)
        self.picture.reshape(fine.rows, FINE, fine.columns, FINE, 3).transpose(0, 2, 1, 3, 4)[mask] = patches

    def _tolerate(self, levels: float) -> None:
        """Sets what each plane may be off by, from what a change there does to a pixel (see ``tolerance_of``)."""
        layers = self._layers
        influence = self._back(layers.blocks_fine, "fine", layers.out.squares.mean(1), levels)
        influence = layers.mix.squares @ (influence * np.square(self._levels["fine"][0]))
        influence[layers.learned :] += np.float32(1 / PIXELS)
        parts = np.split(influence, [layers.learned])
        self._mixed.tolerate(np.concatenate([tolerance_of(part, levels) for part in parts]))
        influence = before_shuffle(layers.up_fine, parts[0])
        influence = self._back(layers.blocks_wide, "wide", influence, levels)
        influence = before_shuffle(layers.up_wide, influence * np.square(self._levels["wide"][0]))
        self._back(layers.blocks_deep, "deep", influence, levels)

    def _back(
        self, blocks: list[GatedRows], name: str, influence: NDArray[np.float32], levels: float
    ) -> NDArray[np.float32]:
        """Sets the tolerances of a stride's planes, from the last to the first; returns the influence on the first."""
        planes = self._planes[name]
        planes[-1].tolerate(tolerance_of(influence, levels))
        for block, plane in zip(reversed(blocks), reversed(planes[:-1]), strict=True):
            influence = block.influence(influence, plane)
            plane.tolerate(tolerance_of(influence, levels))
        return influence
