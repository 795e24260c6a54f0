"""The payload of a P record: the latents that moved since the reference, in integer arithmetic only.

First comes the map of moved positions. At those, the latents are coded as differences from the reference in a few
groups of channels, the most energetic first. A small integer network looks at a position's 3x3 surroundings, in the
reference and in the groups that are known already, and says where each difference lies and how sure that is. What did
not move costs nothing but its flag, neither bits nor time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.codec.integer_network import MEAN_STEPS, SCALE_COUNT, IntegerNetwork
from shared.codec.latents import LATENT_MAX, Latents
from shared.codec.movement import CONTEXTS, Map, pop_map, push_map
from shared.codec.symbols import Prediction, check_spent, coder_of, new_coder, payload_of
from shared.codec.tables import Tables
from shared.errors import BundleError, RecordError

INPUT_MAX = 63
"""Latents and differences are clipped to this before a network sees them."""
MOVED_INPUT = 32
"""What a network sees where a position moved; elsewhere 0."""


class TemporalModel:
    """What both ends must agree on to code a frame after another."""

    def __init__(
        self,
        networks: Sequence[IntegerNetwork],
        groups: Sequence[NDArray[np.int64]],
        latent_tables: Tables,
        movement_tables: Tables,
    ) -> None:
        """Args:
        networks: one per group of channels; see ``inputs``.
        groups: the channels of each, together all M.
        latent_tables: one per scale index and eighth of a mean.
        movement_tables: one per context of ``movement``.

        Raises:
            BundleError: they do not fit together.
        """
        self.networks, self.groups = list(networks), [np.asarray(group, np.int64) for group in groups]
        self.latent_tables, self.movement_tables = latent_tables, movement_tables
        channels = np.concatenate(self.groups)
        fits = len(networks) == len(groups) and np.array_equal(np.sort(channels), np.arange(len(channels)))
        if not fits or len(latent_tables) != SCALE_COUNT * MEAN_STEPS or len(movement_tables) != CONTEXTS:
            raise BundleError("the temporal model's networks, channel groups and tables do not fit together")

    def encode(self, target: Latents, reference: NDArray[np.int16], last: Map, level: int) -> bytes:
        """Codes a frame given its reference.

        Args:
            target: what to code; equal to the reference wherever its ``moved`` is false.
            reference: int16[M, h, w]; last: bool[h, w], what moved in the reference's own frame.
            level: the quality level whose biases hold.

        Returns:
            The payload.
        """
        where = np.nonzero(target.moved)
        differences = np.zeros((len(reference), *target.moved.shape), np.int32)
        surroundings = _surroundings(reference, target.moved, where)
        steps: list[tuple[Prediction, NDArray[np.int32]]] = []
        if len(where[0]):
            for number, group in enumerate(self.groups):
                prediction = self._predict(number, surroundings, differences, where, level)
                here = group[:, None], where[0], where[1]
                values = (target.values[here].astype(np.int32) - reference[here]).ravel()
                _place(differences, group, where, values)
                steps.append((prediction, values))
        coder = new_coder()
        for prediction, values in reversed(steps):
            prediction.push(coder, values, self.latent_tables)
        push_map(coder, target.moved, last, self.movement_tables)
        return payload_of(coder)

    def decode(self, payload: bytes, like: Latents, reference: NDArray[np.int16], last: Map, level: int) -> Latents:
        """The latents of a P record's payload; arguments as in ``encode``, ``like`` gives quality and size.

        Raises:
            RecordError: the payload does not decode to latents of such a frame.
        """
        coder = coder_of(payload)
        moved = pop_map(coder, last, self.movement_tables)
        where = np.nonzero(moved)
        differences = np.zeros(reference.shape, np.int32)
        surroundings = _surroundings(reference, moved, where)
        if len(where[0]):
            for number, group in enumerate(self.groups):
                prediction = self._predict(number, surroundings, differences, where, level)
                values = prediction.pop(coder, self.latent_tables, 2 * LATENT_MAX)
                _place(differences, group, where, values)
        check_spent(coder)
        there = reference[:, moved] + differences[:, moved]
        if np.abs(there).max(initial=0) > LATENT_MAX:
            raise RecordError("the payload is damaged: a latent is out of range")
        decoded = reference.copy()
        decoded[:, moved] = there
        hyper = np.zeros((like.hyper.shape[0], 0, 0), np.int8)
        return Latents(decoded, hyper, moved, like.quality, like.width, like.height)

    def _predict(
        self,
        number: int,
        surroundings: NDArray[np.float32],
        differences: NDArray[np.int32],
        where: tuple[NDArray[Any], ...],
        level: int,
    ) -> Prediction:
        """What the network of a group says about its channels at the moved positions, channel by channel."""
        known = np.concatenate([*self.groups[:number], np.empty(0, np.int64)])
        network_input = np.concatenate((surroundings, patches(differences[known], where)), 1)
        means, indexes = self.networks[number](network_input, level)
        flat_means, flat_indexes = means[:, :, 0, 0].T.ravel(), indexes[:, :, 0, 0].T.ravel()
        tables = flat_indexes.astype(np.int32) * MEAN_STEPS + flat_means % MEAN_STEPS
        return Prediction(self.latent_tables, flat_means // MEAN_STEPS, tables)


def patches(planes: NDArray[Any], where: tuple[NDArray[Any], ...]) -> NDArray[np.float32]:
    """The 3x3 surroundings of A positions, 0 outside the picture, clipped to what networks see.

    Args:
        planes: int[C, h, w]; where: rows and columns, each int[A].

    Returns:
        float32[A, C, 3, 3], whole numbers.
    """
    rows, columns = where
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1)))
    offsets = np.arange(3)
    places = (rows[:, None, None] + offsets[:, None]) * padded.shape[2] + columns[:, None, None] + offsets
    lines = padded.reshape(len(planes), padded.shape[1] * padded.shape[2])
    cut = np.take(lines, places.ravel(), axis=1).reshape(len(planes), *places.shape)
    seen: NDArray[np.float32] = np.clip(cut, -INPUT_MAX, INPUT_MAX).astype(np.float32)
    return seen.swapaxes(0, 1)


def _surroundings(reference: NDArray[np.int16], moved: Map, where: tuple[NDArray[Any], ...]) -> NDArray[np.float32]:
    """What every group's network sees first: the reference's M channels and the map of moved positions."""
    flags = MOVED_INPUT * moved[None].astype(np.int16)
    return np.concatenate((patches(reference, where), patches(flags, where)), 1)


def _place(
    differences: NDArray[np.int32], group: NDArray[np.int64], where: tuple[NDArray[Any], ...], values: NDArray[np.int32]
) -> None:
    differences[group[:, None], where[0], where[1]] = values.reshape(len(group), -1)
