"""The payload of a P record: the latents that moved since the reference, in integer arithmetic only.

First comes the map of moved positions. At those, the latents are coded as differences from the reference in a few
groups of channels, the most energetic first. A small integer network looks at a position and what surrounds it, in the
reference and in the groups that are known already, and says where each difference lies and how sure that is. What did
not move costs nothing but its flag, neither bits nor time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.codec.integer_network import MEAN_SHIFT, MEAN_STEPS, SCALE_COUNT, IntegerNetwork
from shared.codec.latents import LATENT_MAX, Latents
from shared.codec.movement import CONTEXTS, Map, pop_map, push_map
from shared.codec.neighbours import INPUT_MAX, Neighbours
from shared.codec.symbols import Prediction, check_spent, coder_of, new_coder, payload_of
from shared.codec.tables import Tables
from shared.errors import BundleError, RecordError

MOVED_INPUT = 32
"""What a network sees where a position moved; elsewhere 0."""
WIDE_GROUPS = 1
"""How many groups of channels a network sees the 3x3 neighbourhoods of; of finer detail it sees what is there and how
loud it is around."""


def input_size(channels: int, wide: int, known: int) -> int:
    """Numbers a network sees of a position.

    Args:
        channels: M; wide: how many of them are in the wide groups; known: how many are in the groups before its own.
    """
    return 9 * (wide + 1 + min(known, wide)) + 2 * (channels - wide + max(known - wide, 0))


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
        networks: one per group of channels.
        groups: the channels of each, together all M.
        latent_tables: one per scale index and eighth of a mean.
        movement_tables: one per context of ``movement``.

        Raises:
            BundleError: they do not fit together.
        """
        self.networks = list(networks)
        self.channels = ChannelGroups(groups)
        self.latent_tables, self.movement_tables = latent_tables, movement_tables
        whole = np.array_equal(np.sort(self.channels.order), np.arange(len(self.channels.order)))
        fits = whole and len(networks) == len(groups)
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
        surroundings = MovedSurroundings(self.channels, reference, target.moved)
        there, before = (surroundings.moved(latents) for latents in (target.values, reference))
        differences = (there.astype(np.int32) - before)[self.channels.order]
        steps: list[tuple[Prediction, NDArray[np.int32]]] = []
        if differences.size:
            for number, group in enumerate(self.channels.slices):
                steps.append((self._predict(number, surroundings, level), differences[group].ravel()))
                surroundings.learn(number, differences[group])
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
        surroundings = MovedSurroundings(self.channels, reference, moved)
        differences = np.zeros((len(reference), np.count_nonzero(moved)), np.int32)
        if differences.size:
            for number, group in enumerate(self.channels.slices):
                values = self._predict(number, surroundings, level).pop(coder, self.latent_tables, 2 * LATENT_MAX)
                differences[group] = values.reshape(differences[group].shape)
                surroundings.learn(number, differences[group])
        check_spent(coder)
        there = reference[:, moved].astype(np.int32)
        there[self.channels.order] += differences
        if np.abs(there).max(initial=0) > LATENT_MAX:
            raise RecordError("the payload is damaged: a latent is out of range")
        decoded = reference.copy()
        decoded[:, moved] = there
        hyper = np.zeros((like.hyper.shape[0], 0, 0), np.int8)
        return Latents(decoded, hyper, moved, like.quality, like.width, like.height)

    def _predict(self, number: int, surroundings: MovedSurroundings, level: int) -> Prediction:
        """What the network of a group says about its channels at the moved positions, channel by channel."""
        means, indexes = self.networks[number](surroundings.seen(number)[None, :, None], level)
        flat = means.ravel()
        whole, eighths = flat >> MEAN_SHIFT, flat & (MEAN_STEPS - 1)
        return Prediction(self.latent_tables, whole, (indexes.ravel().astype(np.int32) << MEAN_SHIFT) + eighths)


class ChannelGroups:
    """The channels in groups, the most energetic first.

    Attributes:
        order: int64[M], the channels in the order of their groups; slices: where each group is in it.
        wide: how many are in the wide groups.
    """

    def __init__(self, groups: Sequence[Sequence[int] | NDArray[np.int64]]) -> None:
        self.order = np.concatenate([np.asarray(group, np.int64) for group in groups])
        ends = np.cumsum([len(group) for group in groups]).tolist()
        self.slices = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        self.wide = ends[min(WIDE_GROUPS, len(ends)) - 1]


class MovedSurroundings:
    """What the networks see of the moved positions of one frame, as its groups become known one after another."""

    def __init__(self, channels: ChannelGroups, reference: NDArray[np.int16], moved: Map) -> None:
        """Args: reference, int16[M, h, w]; moved, bool[h, w]."""
        self._channels = channels
        self._positions = np.flatnonzero(moved)
        rows, columns = moved.shape
        count, wide = len(channels.order), slice(channels.wide)
        fine = slice(channels.wide, count)
        near = np.flatnonzero(_reached(moved))
        around = reference.reshape(count, -1).take(near, axis=1)[channels.order]
        before, flags = Neighbours(count, rows, columns), Neighbours(1, rows, columns)
        before.keep(wide, near, around[wide])
        before.measure(fine, near, around[fine])
        flags.keep(slice(1), self._positions, np.full((1, len(self._positions)), MOVED_INPUT, np.int32))
        self._differences = Neighbours(count, rows, columns)
        self._seen = np.empty((input_size(count, channels.wide, 0), len(self._positions)), np.float32)
        sizes = 9 * channels.wide, count - channels.wide, count - channels.wide
        neighbourhoods, there, loud, moving = np.split(self._seen, np.cumsum(sizes))
        before.around(wide, self._positions, neighbourhoods)
        np.clip(self.moved(reference)[channels.order[fine]], -INPUT_MAX, INPUT_MAX, out=there)
        before.loudness(fine, self._positions, loud)
        flags.around(slice(1), self._positions, moving)

    def seen(self, number: int) -> NDArray[np.float32]:
        """What the network of a group sees, a column for each moved position: [K, A]."""
        known, wide, positions = self._channels.slices[number].start, self._channels.wide, self._positions
        seen = np.empty((input_size(len(self._channels.order), wide, known), len(positions)), np.float32)
        coarse, fine = min(known, wide), slice(wide, max(known, wide))
        sizes = len(self._seen), 9 * coarse, fine.stop - wide
        first, near, there, loud = np.split(seen, np.cumsum(sizes))
        first[:] = self._seen
        self._differences.around(slice(coarse), positions, near)
        self._differences.there(fine, positions, there)
        self._differences.loudness(fine, positions, loud)
        return seen

    def moved(self, latents: NDArray[np.int16]) -> NDArray[np.int16]:
        """Latents int16[M, h, w] at the moved positions, int16[M, A]."""
        return latents.reshape(len(latents), -1).take(self._positions, axis=1)

    def learn(self, number: int, differences: NDArray[np.int32]) -> None:
        """The group's differences, int32[G, A], are known."""
        if number == len(self._channels.slices) - 1:
            return  # nobody asks any more
        self._differences.learn(self._channels.slices[number], self._positions, differences)


def _reached(moved: Map) -> Map:
    """The positions whose 3x3 neighbourhood holds one that moved."""
    padded = np.zeros((moved.shape[0] + 2, moved.shape[1] + 2), bool)
    padded[1:-1, 1:-1] = moved
    lines = padded[:-2] | padded[1:-1] | padded[2:]
    reached: Map = lines[:, :-2] | lines[:, 1:-1] | lines[:, 2:]
    return reached
