"""What motion says about latents: blocks of the reference's linear picture, moved, as latents."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from icm.codec.latents.field import Field
from icm.codec.latents.latents import STRIDE, Latents
from icm.codec.motion.linear_path import EIGHTHS, PIXELS, LinearPath, LinearSynthesis, slices
from icm.codec.motion.reference import Reference
from icm.codec.native import library
from icm.codec.predict.requantise import requantise


class LinearPicture:
    """The linear picture of a reference; only where latents changed since the last one it is computed anew."""

    def __init__(self, path: LinearSynthesis) -> None:
        self._path = path
        self._latents = np.empty((0, 0, 0), np.int16)
        self._quality = -1
        self._blocks = np.empty((0, 0, STRIDE, STRIDE, 3), np.int16)

    def of(self, latents: NDArray[np.int16], quality: int) -> NDArray[np.int16]:
        """Latents int16[M, h, w] -> int16[16h, 16w, 3] in sixteenths of a grey level; not to be written to."""
        rows, columns = latents.shape[1:]
        if latents.shape != self._latents.shape or quality != self._quality:
            changed = np.ones((rows, columns), bool)
            self._blocks = np.empty((rows, STRIDE, columns, STRIDE, 3), np.int16)
        else:
            changed = (latents != self._latents).any(0)
        if changed.any():
            row, column = np.nonzero(changed)
            self._blocks[row, :, column] = self._path.blocks(latents[:, changed].T, quality)
        self._latents, self._quality = latents, quality
        return self._blocks.reshape(rows * STRIDE, columns * STRIDE, 3)


@dataclass(frozen=True)
class Prediction:
    """What a field says about a frame's latents.

    Attributes:
        values: int16[M, h, w].
        eighths: int32[M, A], what was rounded off at the positions that have a difference, in eighths of a step.
    """

    values: NDArray[np.int16]
    eighths: NDArray[np.int32]

    @staticmethod
    def of(field: Field, reference: Reference, eighths: NDArray[np.int32]) -> Prediction:
        """Returns the prediction that a field makes from its reference.

        Args:
            eighths: int32[K, M], what the vectors predict at the positions that have them: see ``predicted``.
        """
        values = np.where(field.from_background, reference.memory.values, reference.latents)
        has_motion, coded = field.has_motion, field.coded
        whole = whole_steps(eighths)
        values[:, has_motion] = whole.T
        left = np.zeros((np.count_nonzero(coded), len(values)), np.int32)
        left[has_motion[coded]] = (eighths - EIGHTHS * whole.astype(np.int32))[coded[has_motion]]
        return Prediction(values, left.T)


def predict(path: LinearPath, field: Field, reference: Reference) -> Prediction:
    """What a field says about a frame's latents."""
    has_motion = np.flatnonzero(field.has_motion)
    vectors = field.vectors_of(has_motion)
    return Prediction.of(field, reference, predicted(path, reference.picture, has_motion, vectors, reference.quality))


def predicted(
    path: LinearPath,
    picture: NDArray[np.int16],
    positions: NDArray[np.int64],
    vectors: NDArray[np.int8],
    quality: int,
) -> NDArray[np.int32]:
    """Latents of K positions by their vectors.

    Args:
        picture: the reference's linear picture, whose border goes on for ever outside it.
        positions: int64[K].
        vectors: int8[2, K, 4], of each position's four blocks.

    Returns:
        int32[K, M], in eighths of a quantisation step.
    """
    height, width, _ = picture.shape
    picture, found = np.ascontiguousarray(picture), np.empty((len(positions), len(path.analysis)), np.int32)
    for some in slices(len(positions)):
        where, there = np.ascontiguousarray(positions[some]), np.ascontiguousarray(vectors[:, some])
        blocks = np.empty((len(where), PIXELS))
        library.moved_blocks(picture, height, width, where, len(where), there, blocks)
        found[some] = path.latents(blocks, quality)
    return found


def whole_steps(eighths: NDArray[np.int32]) -> NDArray[np.int16]:
    """Eighths of a step rounded to whole ones, half up."""
    whole: NDArray[np.int16] = ((eighths + EIGHTHS // 2) >> 3).astype(np.int16)
    return whole


def reference_after(last: Latents, quality: int, octaves: NDArray[np.int32], pictures: LinearPicture) -> Reference:
    """What a frame refers to after another.

    Args:
        last: the frame before.
        quality: of the frame that refers to it, in sixteenths of a level.
        octaves: int32[levels, M], as for ``requantise``.
        pictures: of the chain of frames, so that only what changed is computed.
    """
    values, memory = requantise(last.values, octaves, last.quality, quality), last.background
    remembered = requantise(memory.values, octaves, last.quality, quality)
    return Reference(values, pictures.of(values, quality), replace(memory, values=remembered), last.field, quality)
