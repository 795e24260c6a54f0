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

from shared.codec.integer_network import MEAN_STEPS, SCALE_COUNT, IntegerNetwork
from shared.codec.latents import LATENT_MAX
from shared.errors import BundleError

PHASES = 2
"""Halves of the checkerboard."""
INPUT_MAX = 63
"""What a network sees is clipped to this."""
BIT_LENGTH_MAX = 7
"""Of each of nine neighbours, so that their sum stays within what a network sees."""
NO_CHANGE = SCALE_COUNT // 2
"""The scale index by which a network says that the hyper-latents' own is right."""


def input_size(known: int, group: int) -> int:
    """Numbers a network sees of a position: of each known channel 10, of each of its own group 2."""
    return 10 * known + 2 * group


@dataclass(frozen=True)
class Expected:
    """What is known of latents before they are decoded.

    Attributes:
        means: int32, in 1/8; indexes: int32 of the same shape, scale indexes, 0..63.
    """

    means: NDArray[np.int32]
    indexes: NDArray[np.int32]

    @property
    def nearest(self) -> NDArray[np.int32]:
        """The means as whole latents, rounded half up."""
        whole: NDArray[np.int32] = (self.means + MEAN_STEPS // 2) // MEAN_STEPS
        return whole


class ContextModel:
    """The networks of all steps, which both ends must agree on; a step is a group of channels and a phase."""

    def __init__(self, networks: Sequence[IntegerNetwork], groups: Sequence[NDArray[np.int64]]) -> None:
        """Args:
        networks: one per step.
        groups: the channels of each group, together all M.

        Raises:
            BundleError: they do not fit together.
        """
        self.networks, self.groups = list(networks), [np.asarray(group, np.int64) for group in groups]
        channels = np.concatenate(self.groups)
        if len(networks) != PHASES * len(groups) or not np.array_equal(np.sort(channels), np.arange(len(channels))):
            raise BundleError("the context model's networks and channel groups do not fit together")

    def __len__(self) -> int:
        return len(self.networks)


class Surroundings:
    """The latents of one frame as they become known, step by step; encoder and decoder walk through the same."""

    def __init__(self, model: ContextModel, expected: Expected, level: int) -> None:
        """Args:
        expected: of all latents, [M, h, w], by the hyper-latents; level: the quality level whose biases hold.
        """
        self._model, self._expected, self._level = model, expected, level
        self._nearest = expected.nearest
        channels, rows, columns = expected.means.shape
        # How far known latents lie from what was expected, in the groups' order, with a margin of zeros.
        self._residuals = np.zeros((channels, rows + 2, columns + 2), np.float32)
        self._lengths = np.zeros((channels, rows + 2, columns + 2), np.uint8)
        parity = np.add.outer(np.arange(rows), np.arange(columns)) % 2
        self._positions = [np.nonzero(parity == phase) for phase in range(PHASES)]

    def places(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Where the step's latents are among all: an index of [M, h, w] that gives [G, A]."""
        rows, columns = self._positions[step % PHASES]
        return self._model.groups[step // PHASES][:, None], rows, columns

    def expect(self, step: int) -> Expected:
        """What is known of the step's latents, [G, A], after all steps before it."""
        places = self.places(step)
        means, indexes = self._expected.means[places], self._expected.indexes[places]
        if means.size == 0:
            return Expected(means, indexes)
        own = np.concatenate((np.clip(self._nearest[places], -INPUT_MAX, INPUT_MAX), indexes))
        seen = np.concatenate((self._known_around(step), own.astype(np.float32)))
        changes, offsets = self._model.networks[step](seen[None, :, None], self._level)
        limit = LATENT_MAX * MEAN_STEPS
        corrected = np.clip(indexes + offsets[0, :, 0].astype(np.int32) - NO_CHANGE, 0, SCALE_COUNT - 1)
        return Expected(np.clip(means + changes[0, :, 0], -limit, limit), corrected)

    def learn(self, step: int, values: NDArray[np.int32]) -> None:
        """The step's latents are known, int32[G, A]."""
        start = self._start(step)
        rows, columns = self._positions[step % PHASES]
        residuals = values - self._nearest[self.places(step)]
        there = slice(start, start + len(values)), rows + 1, columns + 1
        self._residuals[there] = np.clip(residuals, -INPUT_MAX, INPUT_MAX)
        # Of whole numbers, the exponent is the bit length.
        self._lengths[there] = np.minimum(np.frexp(np.abs(residuals))[1], BIT_LENGTH_MAX)

    def _start(self, step: int) -> int:
        return sum(len(group) for group in self._model.groups[: step // PHASES])

    def _known_around(self, step: int) -> NDArray[np.float32]:
        """The 3x3 neighbourhoods in the channels known, and their summed bit lengths: float32[10 K, A]."""
        group, phase = divmod(step, PHASES)
        known = self._start(step) + phase * len(self._model.groups[group])
        rows, columns = self._positions[phase]
        height, width = self._residuals.shape[1:]
        offsets = np.arange(3)
        corners = (offsets[:, None] * width + offsets).ravel()
        places = corners[:, None] + (rows * width + columns)
        lines = self._residuals[:known].reshape(known, height * width)
        around = np.take(lines, places.ravel(), axis=1).reshape(9 * known, places.shape[1])
        lengths = self._lengths[:known]
        lines_of_three = lengths[:, :-2] + lengths[:, 1:-1] + lengths[:, 2:]
        sums = lines_of_three[:, :, :-2] + lines_of_three[:, :, 1:-1] + lines_of_three[:, :, 2:]
        return np.concatenate((around, sums[:, rows, columns].astype(np.float32)))
