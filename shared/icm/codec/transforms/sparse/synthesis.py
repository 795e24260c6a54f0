"""g_s where latents changed: each of its layers at the positions that its changed inputs reach."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icm.codec.latents.latents import STRIDE
from icm.codec.transforms.sparse.layers import RowLayer, around, read_weights, weights_named
from icm.codec.transforms.sparse.planes import Grid, Mask, Plane, dilated

FINE = 4
"""Pixels that a position of the last layers spans."""
PIXELS = 3 * FINE * FINE


class SparseSynthesis:
    """The layers of g_s, made from a decoder's network; shared by all cameras."""

    def __init__(self, model: Path, threads: int, device: str) -> None:
        """Reads the network's weights from its file.

        Raises:
            BundleError: the file holds another architecture.
        """
        stored = read_weights(model)

        def named(name: str) -> NDArray[np.float32]:
            return weights_named(stored, name, model)

        def layer(name: str, taps: int, relu: bool = False, added: bool = False, scale: float = 1) -> RowLayer:
            matrix = around(named(f"{name}.weight")) * np.float32(scale)
            return RowLayer(matrix, named(f"{name}.bias"), threads, taps, relu, added)

        self.entry = layer("entry", 1, scale=1 / 64)
        self.deep_first = layer("block_deep.first", 9, relu=True)
        self.deep_second = layer("block_deep.second", 9, added=True)
        self.up_wide = shuffled(named("up_wide.weight"), named("up_wide.bias"), threads)
        self.wide = [
            (layer(f"{block}.first", 9, relu=True), layer(f"{block}.second", 9, added=True))
            for block in ("block_wide", "block_wide2")
        ]
        self.up_fine = shuffled(named("up_fine.weight"), named("up_fine.bias"), threads)
        self.linear = linear_pixels(named("linear.weight"), threads)
        mix = named("mix.weight").copy()
        learned = mix.shape[1] - PIXELS
        mix[:, learned:] = pixel_by_pixel(mix[:, learned:], axis=1) * np.float32(4 / 255)
        self.mix = RowLayer(around(mix), named("mix.bias"), threads, 9, relu=True)
        out = around(pixel_by_pixel(named("out.weight"), axis=0)) * np.float32(0.2 * 255)
        bias = pixel_by_pixel(named("out.bias"), axis=0) * np.float32(0.2 * 255) + np.float32(127.5)
        self.out = RowLayer(out, bias, threads, 9, added=True)
        self.learned = learned
        """How many features are not pixels of the linear part, of those that ``mix`` sees."""

    def begin(self, latents: NDArray[np.float32], levels: NDArray[np.float32], tolerance: float) -> SynthesisState:
        """Computes everything, see ``SynthesisState``. The level makes no difference."""
        return SynthesisState(self, latents, tolerance)

    def influences(self) -> Influences:
        """See ``Influences``; ReLUs are taken for open."""
        mixed = self.out.squares.mean(1)
        fine = self.mix.squares @ mixed
        fine[self.learned :] += np.float32(1 / PIXELS)
        wide = [before_shuffle(self.up_fine, fine[: self.learned])]
        for first, second in reversed(self.wide):
            inner = second.squares @ wide[0]
            wide[:0] = [wide[0] + first.squares @ inner, inner]
        deep_out = before_shuffle(self.up_wide, wide[0])
        deep_inner = self.deep_second.squares @ deep_out
        entered = deep_out + self.deep_first.squares @ deep_inner
        return Influences([entered, deep_inner, deep_out], wide, fine, mixed)


@dataclass(frozen=True)
class Influences:
    """How much of a pixel's variance, in grey levels squared, a unit of variance in each feature makes.

    Attributes:
        deep: float32[width] of each plane.
        wide: float32[width] of each plane.
        fine: float32[width] of that plane.
        mixed: float32[width] of that plane.
    """

    deep: list[NDArray[np.float32]]
    wide: list[NDArray[np.float32]]
    fine: NDArray[np.float32]
    mixed: NDArray[np.float32]


def before_shuffle(layer: RowLayer, influence: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of the features before a layer and a pixel shuffle by 2, from those after it."""
    result: NDArray[np.float32] = layer.squares @ np.tile(influence, 4) / 4
    return result


def tolerance_of(influence: NDArray[np.float32], levels: float) -> NDArray[np.float32]:
    """A change of every feature by this much moves a pixel by about so many grey levels: float32[width]."""
    return np.full(len(influence), levels / np.sqrt(influence.sum()), np.float32)


def shuffled(weights: NDArray[np.float32], bias: NDArray[np.float32], threads: int, relu: bool = True) -> RowLayer:
    """A 1x1 convolution, and a ReLU, before a pixel shuffle by 2, its results position by position."""
    order = np.arange(len(bias)).reshape(-1, 4).T.ravel()
    return RowLayer(around(weights[order]), bias[order], threads, 1, relu=relu)


def linear_pixels(weights: NDArray[np.float32], threads: int) -> RowLayer:
    """The linear part of g_s: a latent's 256 pixels, 16 by 16 positions of the last layers.

    It gives 0..255 less 127.5, colours side by side, where the network's gives 0..1 less 0.5.
    """
    linear = weights[:, :, 0, 0].reshape(3, STRIDE // FINE, FINE, STRIDE // FINE, FINE, -1)
    linear = linear.transpose(5, 1, 3, 2, 4, 0).reshape(linear.shape[-1], -1)
    return RowLayer(np.ascontiguousarray(linear), None, threads, 1)


def pixel_by_pixel(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Reorders an axis of colour x row x column, as a pixel shuffle takes it, to row x column x colour."""
    return np.take(values, np.arange(PIXELS).reshape(3, -1).T.ravel(), axis)


class SynthesisState:
    """Every layer's features of one picture, and the picture they end in."""

    exact = True
    """Whether the picture is within 1 of the whole network's: always, as no feature is multiplied by another."""

    def __init__(self, layers: SparseSynthesis, latents: NDArray[np.float32], levels: float) -> None:
        """Computes everything.

        Args:
            latents: float32[M, h, w], inverse gains applied.
            levels: grey levels of a pixel that a layer may be off for not having followed small changes.
        """
        self._layers = layers
        deep = Grid(*latents.shape[1:])
        wide = deep.finer(2)
        fine = wide.finer(2)

        def plane(grid: Grid, *parts: NDArray[np.float32]) -> Plane:
            tolerance = np.concatenate([tolerance_of(part, levels) for part in parts])
            return Plane(grid, len(tolerance), tolerance)

        influences = layers.influences()
        self._entered, self._deep_inner, self._deep_out = (plane(deep, part) for part in influences.deep)
        self._wide = [plane(wide, part) for part in influences.wide]
        # What the last layers see: the learned features, then the pixels of the linear part.
        self._fine = plane(fine, *np.split(influences.fine, [layers.learned]))
        self._mixed = plane(fine, influences.mixed)
        self.picture = np.zeros((deep.rows * STRIDE, deep.columns * STRIDE, 3), np.uint8)
        """uint8[16h, 16w, 3] RGB."""
        self.update(latents.reshape(len(latents), -1).T, deep.everything())

    @property
    def _planes(self) -> tuple[Plane, ...]:
        return self._entered, self._deep_inner, self._deep_out, *self._wide, self._fine, self._mixed

    def update(self, latents: NDArray[np.float32], changed: Mask) -> None:
        """Takes over the latents, float32[n, M], of the true places of the mask, bool[h, w]."""
        layers, deep, fine = self._layers, self._entered.grid, self._fine.grid
        for plane in self._planes:
            plane.changed = plane.grid.nothing()
        rows = np.ascontiguousarray(latents)
        learned, pixels = slice(layers.learned), slice(layers.learned, None)
        flat = layers.linear.dense(rows).reshape(-1, PIXELS)
        self._fine.update(deep.children(changed, STRIDE // FINE).ravel(), flat, pixels)
        self._entered.update(deep.positions(changed), layers.entry.dense(rows))
        self._deep_inner.convolve(layers.deep_first, self._entered)
        self._deep_out.convolve(layers.deep_second, self._deep_inner, self._entered)
        _spread(layers.up_wide, self._deep_out, self._wide[0])
        for (first, second), start, inner, end in zip(
            layers.wide, self._wide[::2], self._wide[1::2], self._wide[2::2], strict=False
        ):
            inner.convolve(first, start)
            end.convolve(second, inner, start)
        _spread(layers.up_fine, self._wide[-1], self._fine, learned)
        self._mixed.convolve(layers.mix, self._fine)
        mask = dilated(self._mixed.changed) | self._fine.changed
        positions = fine.positions(mask)
        added = self._fine.rows[positions, pixels]
        colours = layers.out(self._mixed.rows, positions[:, None] + fine.around, added)
        patches = np.rint(colours.clip(0, 255)).astype(np.uint8).reshape(-1, FINE, FINE, 3)
        self.picture.reshape(fine.rows, FINE, fine.columns, FINE, 3).transpose(0, 2, 1, 3, 4)[mask] = patches


def _spread(layer: RowLayer, source: Plane, target: Plane, columns: slice = slice(None)) -> None:
    """A layer of one tap before a pixel shuffle by 2, where its source changed."""
    positions = source.grid.positions(source.changed)
    rows = layer(source.rows, positions[:, None])
    children = source.grid.children(source.changed, 2).ravel()
    target.update(children, rows.reshape(len(children), target.rows[:, columns].shape[1]), columns)
