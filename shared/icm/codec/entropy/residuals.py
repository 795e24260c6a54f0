"""Differences between latents and what is predicted of them, at some positions, in integer arithmetic only.

They are coded in a few groups of channels, the most energetic first. A small integer network looks at a position and
what surrounds it, in the prediction and in the groups that are known already, and says where each difference lies and
how sure that is. What has no difference costs neither bits nor time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from icm.codec.entropy.coder import Prediction
from icm.codec.entropy.integer_network import MEAN_SHIFT, MEAN_STEPS, SCALE_COUNT, IntegerNetwork
from icm.codec.entropy.neighbourhood import INPUT_MAX, Neighbourhood
from icm.codec.entropy.quantisation import Quantiser
from icm.codec.entropy.skip_map import Map
from icm.codec.entropy.tables import Tables
from icm.codec.latents.latents import LATENT_MAX
from icm.errors import BundleError, RecordError

Number = TypeVar("Number", bound=np.generic)

SET_INPUT = 32
"""What a network sees where a flag is set; elsewhere 0."""
WIDE_GROUPS = 1
"""How many groups of channels a network sees the 3x3 neighbourhoods of; of finer detail it sees what is there and how
loud it is around."""


def input_size(channels: int, wide: int, known: int, flags: int = 1) -> int:
    """Numbers a network sees of a position.

    Args:
        channels: M.
        wide: how many of them are in the wide groups.
        known: how many are in the groups before its own.
        flags: how many flags of each position are seen.
    """
    return 9 * (wide + flags + min(known, wide)) + 2 * (channels - wide + max(known - wide, 0))


class ChannelGroups:
    """The channels in groups, the most energetic first.

    Attributes:
        order: int64[M], the channels in the order of their groups.
        slices: where each group is in it.
        wide: how many are in the wide groups.
    """

    def __init__(self, groups: Sequence[Sequence[int] | NDArray[np.int64]]) -> None:
        self.order = np.concatenate([np.asarray(group, np.int64) for group in groups])
        ends = np.cumsum([len(group) for group in groups]).tolist()
        self.slices = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        self.wide = ends[min(WIDE_GROUPS, len(ends)) - 1]


class ResidualContext:
    """What the networks see of the coded positions of one frame, as its groups become known one after another."""

    def __init__(
        self, channels: ChannelGroups, prediction: NDArray[np.int16], coded: Map, flags: Sequence[Map]
    ) -> None:
        """Creates the context of one frame, of which no differences are known yet.

        Args:
            prediction: int16[M, h, w], of every position.
            coded: bool[h, w], the positions with differences.
            flags: bool[h, w] each, what is known of each position.
        """
        self._channels = channels
        self._positions = np.flatnonzero(coded)
        rows, columns = coded.shape
        count, wide = len(channels.order), slice(channels.wide)
        fine = slice(channels.wide, count)
        near = np.flatnonzero(_reached(coded))
        around = prediction.reshape(count, -1).take(near, axis=1)[channels.order]
        before, kinds = Neighbourhood(count, rows, columns), Neighbourhood(len(flags), rows, columns)
        before.keep(wide, near, around[wide])
        before.measure(fine, near, around[fine])
        there_flags = np.stack([flag.ravel()[near] for flag in flags]) * np.int32(SET_INPUT)
        kinds.keep(slice(len(flags)), near, there_flags)
        self._differences = Neighbourhood(count, rows, columns)
        self._flags = len(flags)
        self._seen = np.empty(
            (input_size(count, channels.wide, 0, self._flags), len(self._positions)), np.float32
        )  # fmt: skip
        sizes = 9 * channels.wide, count - channels.wide, count - channels.wide
        neighbourhoods, there, loud, seen_flags = np.split(self._seen, np.cumsum(sizes))
        before.around(wide, self._positions, neighbourhoods)
        np.clip(self.at_coded(prediction)[channels.order[fine]], -INPUT_MAX, INPUT_MAX, out=there)
        before.magnitude_sum(fine, self._positions, loud)
        kinds.around(slice(len(flags)), self._positions, seen_flags)

    def seen(self, number: int) -> NDArray[np.float32]:
        """What the network of a group sees, a column for each coded position: [K, A]."""
        known, wide, positions = self._channels.slices[number].start, self._channels.wide, self._positions
        size = input_size(len(self._channels.order), wide, known, self._flags)
        seen = np.empty((size, len(positions)), np.float32)
        coarse, fine = min(known, wide), slice(wide, max(known, wide))
        sizes = len(self._seen), 9 * coarse, fine.stop - wide
        first, near, there, loud = np.split(seen, np.cumsum(sizes))
        first[:] = self._seen
        self._differences.around(slice(coarse), positions, near)
        self._differences.there(fine, positions, there)
        self._differences.magnitude_sum(fine, positions, loud)
        return seen

    @property
    def count(self) -> int:
        """How many positions are coded."""
        return len(self._positions)

    def at_coded(self, latents: NDArray[Number]) -> NDArray[Number]:
        """Latents [M, h, w] at the coded positions, [M, A]."""
        return latents.reshape(len(latents), -1).take(self._positions, axis=1)

    def learn(self, number: int, differences: NDArray[np.int32]) -> None:
        """The group's differences, int32[G, A], are known."""
        if number == len(self._channels.slices) - 1:
            return  # nobody asks any more
        self._differences.learn(self._channels.slices[number], self._positions, differences)


class DifferenceModel:
    """What both ends must agree on to code differences."""

    def __init__(self, networks: Sequence[IntegerNetwork], groups: Sequence[NDArray[np.int64]], tables: Tables) -> None:
        """Creates the model from its networks and tables.

        Args:
            networks: one per group of channels.
            groups: the channels of each group, together all M.
            tables: one per scale index and eighth of a mean.

        Raises:
            BundleError: networks, groups and tables do not fit together.
        """
        self.networks = list(networks)
        self.channels = ChannelGroups(groups)
        self.tables = tables
        self._quantiser = Quantiser(tables)
        whole = np.array_equal(np.sort(self.channels.order), np.arange(len(self.channels.order)))
        if not whole or len(networks) != len(groups) or len(tables) != SCALE_COUNT * MEAN_STEPS:
            raise BundleError("the networks, channel groups and tables of differences do not fit together")

    def push(
        self,
        coder: Any,
        surroundings: ResidualContext,
        target: NDArray[np.int16],
        prediction: NDArray[np.int16],
        level: int,
        eighths: NDArray[np.int32] | None = None,
    ) -> None:
        """Pushes the differences of a frame.

        Args:
            target: int16[M, h, w].
            prediction: int16[M, h, w].
            level: the quality level whose biases hold.
            eighths: int32[M, A], what the prediction was rounded off by, in eighths of a step; None for nothing.
        """
        there, before = (surroundings.at_coded(latents) for latents in (target, prediction))
        differences = (there.astype(np.int32) - before)[self.channels.order]
        self._push(coder, surroundings, level, eighths, lambda group, expected: differences[group])

    def push_chosen(
        self,
        coder: Any,
        surroundings: ResidualContext,
        wanted: NDArray[np.float32],
        prediction: NDArray[np.int16],
        level: int,
        eighths: NDArray[np.int32],
        worth: float,
    ) -> NDArray[np.int16]:
        """Chooses differences by rate and distortion, and pushes them.

        Args:
            wanted: float32[M, h, w], latents in quantisation steps, not rounded; the others as of ``push``.
            worth: squared error that a bit is worth.

        Returns:
            The latents at the coded positions, int16[M, A].
        """
        before = surroundings.at_coded(prediction).astype(np.int32)[self.channels.order]
        missing = (surroundings.at_coded(wanted)[self.channels.order] - before).astype(np.float32)
        there = before.copy()

        def choose(group: slice, expected: Prediction) -> NDArray[np.int32]:
            near = self._quantiser(missing[group].ravel(), expected, worth).reshape(before[group].shape)
            there[group] = np.clip(before[group] + near, -LATENT_MAX, LATENT_MAX)
            chosen: NDArray[np.int32] = there[group] - before[group]
            return chosen

        self._push(coder, surroundings, level, eighths, choose)
        values = np.empty(there.shape, np.int16)
        values[self.channels.order] = there
        return values

    def _push(
        self,
        coder: Any,
        surroundings: ResidualContext,
        level: int,
        eighths: NDArray[np.int32] | None,
        differences: Callable[[slice, Prediction], NDArray[np.int32]],
    ) -> None:
        """Pushes the differences that the function gives, group by group: int32[G, A]."""
        for expected, values in reversed(self._walk(surroundings, level, eighths, differences)):
            expected.push(coder, values.ravel(), self.tables)

    def bits(
        self,
        surroundings: ResidualContext,
        target: NDArray[np.int16],
        prediction: NDArray[np.int16],
        level: int,
        eighths: NDArray[np.int32] | None = None,
    ) -> NDArray[np.float64]:
        """What the differences of a frame cost, float64[A] of its coded positions; arguments as in ``push``."""
        there, before = (surroundings.at_coded(latents) for latents in (target, prediction))
        differences = (there.astype(np.int32) - before)[self.channels.order]
        bits = np.zeros(surroundings.count)
        for expected, values in self._walk(surroundings, level, eighths, lambda group, expected: differences[group]):
            bits += expected.bits(values.ravel(), self.tables).reshape(values.shape).sum(0)
        return bits

    def _walk(
        self,
        surroundings: ResidualContext,
        level: int,
        eighths: NDArray[np.int32] | None,
        differences: Callable[[slice, Prediction], NDArray[np.int32]],
    ) -> list[tuple[Prediction, NDArray[np.int32]]]:
        """Of each group what was expected, and its differences, int32[G, A]."""
        if not surroundings.count:
            return []
        steps: list[tuple[Prediction, NDArray[np.int32]]] = []
        for number, group in enumerate(self.channels.slices):
            expected = self._predict(number, surroundings, level, eighths)
            values = differences(group, expected)
            steps.append((expected, values))
            surroundings.learn(number, values)
        return steps

    def pop(
        self,
        coder: Any,
        surroundings: ResidualContext,
        prediction: NDArray[np.int16],
        level: int,
        eighths: NDArray[np.int32] | None = None,
    ) -> NDArray[np.int16]:
        """The latents at the coded positions, int16[M, A]; arguments as in ``push``.

        Raises:
            RecordError: the stream holds no such differences.
        """
        there = surroundings.at_coded(prediction).astype(np.int32)
        differences = np.zeros(there.shape, np.int32)
        if differences.size:
            for number, group in enumerate(self.channels.slices):
                expected = self._predict(number, surroundings, level, eighths)
                values = expected.pop(coder, self.tables, 2 * LATENT_MAX)
                differences[group] = values.reshape(differences[group].shape)
                surroundings.learn(number, differences[group])
        there[self.channels.order] += differences
        if np.abs(there).max(initial=0) > LATENT_MAX:
            raise RecordError("the payload is damaged: a latent is out of range")
        return there.astype(np.int16)

    def _predict(
        self, number: int, surroundings: ResidualContext, level: int, eighths: NDArray[np.int32] | None
    ) -> Prediction:
        """What the network of a group says about its channels at the coded positions, channel by channel."""
        means, indexes = self.networks[number](surroundings.seen(number)[None, :, None], level)
        flat = means.ravel()
        if eighths is not None:
            flat = flat + eighths[self.channels.order[self.channels.slices[number]]].ravel()
        whole, fractions = flat >> MEAN_SHIFT, flat & (MEAN_STEPS - 1)
        return Prediction(self.tables, whole, (indexes.ravel().astype(np.int32) << MEAN_SHIFT) + fractions)


def _reached(coded: Map) -> Map:
    """The positions whose 3x3 neighbourhood holds one that is coded."""
    padded = np.zeros((coded.shape[0] + 2, coded.shape[1] + 2), bool)
    padded[1:-1, 1:-1] = coded
    lines = padded[:-2] | padded[1:-1] | padded[2:]
    reached: Map = lines[:, :-2] | lines[:, 1:-1] | lines[:, 2:]
    return reached
