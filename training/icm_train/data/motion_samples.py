"""Clips coded as an encoder will: what is left to code where something moved, and how its modes and vectors look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from icm.codec.entropy.residuals import ChannelGroups, ResidualContext
from icm.codec.entropy.skip_map import CONTEXTS, contexts
from icm.codec.entropy.tables import Tables, normalised
from icm.codec.latents.field import Field, Mode
from icm.codec.latents.latents import QUALITY_STEPS, STRIDE
from icm.codec.latents.memory import BackgroundMemory
from icm.codec.motion.choice import Costs, Decision, ModeDecision
from icm.codec.motion.coding import OTHER, FieldTables, symbols
from icm.codec.motion.known import MODE_CONTEXTS, SPREADS, VECTOR_CONTEXTS
from icm.codec.motion.linear_path import EIGHTHS, LinearPath, LinearSynthesis, linear_weights
from icm.codec.motion.prediction import LinearPicture
from icm.codec.motion.reference import Reference
from icm.codec.predict.skip import skip_decision
from icm_train.integer.tables import skip_map_tables
from icm_train.models.codec import TrainableCodec, gain_arrays

OFFSET_REACH = 24
"""Pixels that a vector's offset from its guess may have without being spelled out as a plain number."""
_CHANGED = 0.5
"""Quantisation steps by which some latent of a position differs from the last frame's where its tile changed, about."""


@dataclass(frozen=True)
class Sample:
    """What is left to code of a frame of a clip, and what the networks may look at to predict it.

    Attributes:
        seen: what the network of each group sees, int8[A, K].
        wanted: float32[A, M], the differences in the order of the groups.
        rounded_off: float32[A, M], what the prediction was rounded off by, in quantisation steps.
        level: the quality level of all.
        field: of this frame.
        last: the field of the frame before.
        foreground: see ``MotionContext``.
    """

    seen: list[NDArray[np.int8]]
    wanted: NDArray[np.float32]
    rounded_off: NDArray[np.float32]
    level: int
    field: Field
    last: Field
    foreground: NDArray[np.bool_]


def linear_path(codec: TrainableCodec) -> LinearPath:
    """The codec's linear path in integers."""
    return LinearPath(*linear_maps(codec), gain_arrays(codec)["gain_octaves"])


def linear_maps(codec: TrainableCodec) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The linear maps of analysis and synthesis as they ship."""
    analysis = codec.analysis.linear.weight.detach().numpy()
    there = analysis.transpose(0, 2, 3, 1).reshape(len(analysis), -1)
    synthesis = codec.synthesis.linear.weight.detach().numpy()
    back = synthesis.reshape(3, STRIDE, STRIDE, -1).transpose(1, 2, 0, 3).reshape(len(synthesis), -1)
    return linear_weights(there), linear_weights(back)


class ClipCoder:
    """Codes clips, their modes chosen by what these tables say that they cost."""

    def __init__(self, path: LinearPath, search: LinearSynthesis, channels: ChannelGroups, tables: FieldTables) -> None:
        self._path, self._search, self._channels, self._costs = path, search, channels, Costs(tables)

    def samples(
        self, clip: NDArray[np.uint8], latents: NDArray[np.float32], gains: NDArray[np.float32], level: int
    ) -> Iterator[Sample]:
        """Codes a clip as the encoder does, its first frame alone.

        Args:
            clip: uint8[T, H, W, 3], sides multiples of 16.
            latents: float32[T, M, h, w], not scaled.
            gains: float32[M].
        """
        scaled = latents * gains[:, None, None]
        before = np.rint(scaled[0]).astype(np.int16)
        last, touched = Field.without_motion(np.zeros(before.shape[1:], bool)), np.zeros(before.shape[1:], bool)
        memory, pictures = BackgroundMemory.of(before), LinearPicture(self._path)
        searched = LinearPicture(self._search)
        quality, step = level * QUALITY_STEPS, float(np.median(1 / gains))
        for image, (earlier, frame) in zip(clip[1:], pairwise(scaled), strict=True):
            changed = (np.abs(frame - earlier) > _CHANGED).any(0)
            seen, touched = changed | touched, changed
            updated = np.zeros_like(seen)
            _, updated[seen] = skip_decision(frame[:, seen], before[:, seen])
            reference = Reference(before, pictures.of(before, quality), memory, last, quality)
            found = searched.of(before, quality)
            choice = ModeDecision(self._path, self._costs, reference, found, step).choose(frame, image, updated)
            field, values = choice.field, choice.values
            yield self._sample(choice, reference, level)
            before, last, memory = values, field, memory.after(values, field.updated)

    def _sample(self, choice: Decision, reference: Reference, level: int) -> Sample:
        field, prediction = choice.field, choice.prediction.values
        surroundings = ResidualContext(self._channels, prediction, field.coded, [field.coded, field.has_motion])
        there, before = (surroundings.at_coded(each).astype(np.int32) for each in (choice.values, prediction))
        differences = (there - before)[self._channels.order]
        seen = []
        for number, group in enumerate(self._channels.slices):
            seen.append(surroundings.seen(number).T.astype(np.int8))
            surroundings.learn(number, differences[group])
        rounded_off = choice.prediction.eighths[self._channels.order].T.astype(np.float32) / EIGHTHS
        wanted = differences.T.astype(np.float32)
        return Sample(seen, wanted, rounded_off, level, field, reference.field, reference.foreground)


class FieldCounts:
    """How often each symbol of maps, modes and vectors was met.

    Attributes:
        skip_map_tables: int64[CONTEXTS, 2].
        modes: int64[MODE_CONTEXTS, modes].
        choices: int64[VECTOR_CONTEXTS, 5].
        offsets: int64[2 * SPREADS, 2 * OFFSET_REACH + 2], the last for what lies beyond the reach.
    """

    def __init__(self) -> None:
        self.skip_map_tables = np.zeros((CONTEXTS, 2), np.int64)
        self.modes = np.zeros((MODE_CONTEXTS, len(Mode)), np.int64)
        self.choices = np.zeros((VECTOR_CONTEXTS, OTHER + 1), np.int64)
        self.offsets = np.zeros((2 * SPREADS, 2 * OFFSET_REACH + 2), np.int64)

    def add(self, sample: Sample) -> None:
        """Counts a frame."""
        for where, indexes in contexts(sample.field.updated, sample.last.updated):
            np.add.at(self.skip_map_tables, (indexes, sample.field.updated[where].ravel().astype(int)), 1)
        for part in symbols(sample.field, sample.last, sample.foreground):
            if part.kind == "offsets":
                near = np.abs(part.values) <= OFFSET_REACH
                values = np.where(near, part.values + OFFSET_REACH, 2 * OFFSET_REACH + 1)
                np.add.at(self.offsets, (part.indexes, values), 1)
            else:
                np.add.at(self.modes if part.kind == "modes" else self.choices, (part.indexes, part.values), 1)

    def tables(self) -> FieldTables:
        """Tables that fit what was counted, and where little was, what is known of modes and vectors beforehand."""
        modes = np.array([1e-3, 2, 2, 1, 2, 1, 1, 0.5])
        choices = np.array([4, 1, 1.5, 1, 2])
        offsets = np.append(np.exp(-np.abs(np.arange(-OFFSET_REACH, OFFSET_REACH + 1)) / 3), 1e-2)
        return FieldTables(
            skip_map_tables(self.skip_map_tables),
            _tables(self.modes + 2 * modes, 0),
            _tables(self.choices + 2 * choices, 0),
            _tables(self.offsets + 4 * offsets, -OFFSET_REACH, escape=False),
        )


def _tables(weights: NDArray[np.float64], lowest: int, escape: bool = True) -> Tables:
    """One table a row; with an escape that never comes, or the last column for one."""
    rows = np.pad(weights, ((0, 0), (0, 1)), constant_values=1e-6) if escape else weights
    count, length = rows.shape
    frequencies = np.concatenate([normalised(row) for row in rows])
    lengths, starts = np.full(count, length, np.uint16), np.full(count, lowest, np.int16)
    return Tables(frequencies, lengths, starts, np.zeros(count, bool))
