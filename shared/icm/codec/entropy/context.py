"""What latents that are decoded already say about the next ones of a frame coded alone, in integer arithmetic only.

The hyper-latents give every latent a mean and a scale; they know little of what happens within 64 pixels. So latents
are coded in groups of channels, the most energetic first, and each group on a checkerboard: first the positions whose
row and column add up to an even number, then the others (channel groups as in Minnen and Singh 2020, the checkerboard
as in He et al. 2021). Before each step a small integer network looks at how far known latents around a position lie
from what the hyper-latents said, and corrects the means and scales of that step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icm.codec.entropy.integer_network import MEAN_SHIFT, MEAN_STEPS, SCALE_COUNT, IntegerNetwork
from icm.codec.entropy.neighbourhood import INPUT_MAX, Neighbourhood
from icm.codec.latents.latents import LATENT_MAX
from icm.errors import BundleError

PHASES = 2
"""Halves of the checkerboard."""
NO_CHANGE = SCALE_COUNT // 2
"""The scale index by which a network says that the hyper-latents' own is right."""
_AT_ONCE = 4096
"""Positions that a network sees together: what it sees of one takes up to 10 KiB. Each is looked at by itself, so how
many come together makes no difference to the result."""


def input_size(known: int, group: int) -> int:
    """Numbers a network sees of a position: of each known channel 10, of each of its own group 2."""
    return 10 * known + 2 * group


@dataclass(frozen=True)
class Expected:
    """What is known of latents before they are decoded.

    Attributes:
        means: int32, in 1/8.
        indexes: int32 of the same shape, scale indexes, 0..63.
    """

    means: NDArray[np.int32]
    indexes: NDArray[np.int32]


class ContextModel:
    """The networks of all steps, which both ends must agree on; a step is a group of channels and a phase.

    Attributes:
        order: int64[M], the channels in the order of their groups.
    """

    def __init__(self, networks: Sequence[IntegerNetwork], groups: Sequence[NDArray[np.int64]]) -> None:
        """Creates the model from its networks.

        Args:
            networks: one per step.
            groups: the channels of each group, together all M.

        Raises:
            BundleError: networks and groups do not fit together.
        """
        self.networks = list(networks)
        self.order = np.concatenate([np.asarray(group, np.int64) for group in groups])
        if len(networks) != PHASES * len(groups) or not np.array_equal(np.sort(self.order), np.arange(len(self.order))):
            raise BundleError("the context model's networks and channel groups do not fit together")
        ends = np.cumsum([len(group) for group in groups]).tolist()
        self._groups = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def __len__(self) -> int:
        return len(self.networks)

    def group(self, step: int) -> slice:
        """Where the step's channels are in ``order``."""
        return self._groups[step // PHASES]


class ContextState:
    """The latents of one frame as they become known, step by step; encoder and decoder walk through the same.

    All arrays have a row for each channel, in the model's order, and a column for each position, row by row.
    """

    def __init__(self, model: ContextModel, expected: Expected, rows: int, columns: int, level: int) -> None:
        """Creates the state of one frame, of which no latents are known yet.

        Args:
            expected: what the hyper-latents predict of all latents, [M, rows * columns].
            level: the quality level whose biases are used.
        """
        self._model, self._level = model, level
        # How far known latents lie from what was expected.
        self._residuals = Neighbourhood(len(expected.means), rows, columns)
        parity = np.add.outer(np.arange(rows), np.arange(columns)) % 2
        self._positions = [np.flatnonzero(parity == phase) for phase in range(PHASES)]
        indexes = expected.indexes.astype(np.uint8)
        self._means = [expected.means.take(positions, axis=1) for positions in self._positions]
        self._indexes = [indexes.take(positions, axis=1) for positions in self._positions]

    def places(self, step: int) -> tuple[slice, NDArray[np.int64]]:
        """Rows and columns of the step's latents."""
        return self._model.group(step), self._positions[step % PHASES]

    def expect(self, step: int) -> Expected:
        """What is known of the step's latents, [G, A], after all steps before it."""
        group, positions = self.places(step)
        phase = step % PHASES
        means, indexes = self._means[phase][group], self._indexes[phase][group].astype(np.int32)
        if means.size == 0:
            return Expected(means, indexes)
        known = slice(group.stop if phase else group.start)
        corrected = Expected(np.empty_like(means), np.empty_like(indexes))
        limit = LATENT_MAX * MEAN_STEPS
        for start in range(0, len(positions), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            seen = np.empty((input_size(known.stop, len(means)), len(positions[some])), np.float32)
            near, loud, expected, scales = np.split(seen, np.cumsum((9 * known.stop, known.stop, len(means))))
            self._residuals.around(known, positions[some], near)
            self._residuals.magnitude_sum(known, positions[some], loud)
            np.clip(_nearest(means[:, some]), -INPUT_MAX, INPUT_MAX, out=expected)
            scales[:] = indexes[:, some]
            changes, offsets = self._model.networks[step](seen[None, :, None], self._level)
            np.clip(means[:, some] + changes[0, :, 0], -limit, limit, out=corrected.means[:, some])
            scale = indexes[:, some] + offsets[0, :, 0].astype(np.int32) - NO_CHANGE
            np.clip(scale, 0, SCALE_COUNT - 1, out=corrected.indexes[:, some])
        return corrected

    def learn(self, step: int, values: NDArray[np.int32]) -> None:
        """The step's latents are known, int32[G, A]."""
        group, positions = self.places(step)
        self._residuals.learn(group, positions, values - _nearest(self._means[step % PHASES][group]))


def _nearest(means: NDArray[np.int32]) -> NDArray[np.int32]:
    """The whole numbers nearest to means in 1/8."""
    return (means + MEAN_STEPS // 2) >> MEAN_SHIFT
