"""The encoder's choice of modes and vectors, by rate and distortion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.codec.hold import BIT_WORTH
from shared.codec.latents import LATENT_MAX
from shared.codec.motion.coding import OTHER, FieldTables, choice_of, passes
from shared.codec.motion.field import Field, Mode, has_vectors, is_split
from shared.codec.motion.known import SPREADS, Guess, Known, Positions
from shared.codec.motion.linear_path import EIGHTHS, LinearPath
from shared.codec.motion.prediction import predicted
from shared.codec.motion.reference import Reference
from shared.codec.motion.search import OWN, Matching, brightness, candidates, most_common, picked
from shared.codec.tables import TOTAL, Tables

_BRIGHTNESS = 0.14
"""Squared error of brightness in the search that counts as much as one of latents, which leave out fine detail. Found
by trying: vectors that follow the detail cost more than they save."""


@dataclass(frozen=True)
class Weights:
    """What bits are worth.

    Attributes:
        bit: squared error in quantisation steps that a bit is worth, as in ``hold``.
        symbol, doubling, position: bits that a difference takes, about: for each that is not 0, for each doubling of
            its magnitude, and for the position as a whole.
    """

    bit: float = BIT_WORTH
    symbol: float = 4.0
    doubling: float = 2.0
    position: float = 8.0


DEFAULT_WEIGHTS = Weights()


class Costs:
    """Bits of symbols under a frame's tables."""

    def __init__(self, tables: FieldTables) -> None:
        self._modes, self._choices = _bits(tables.modes, len(Mode)), _bits(tables.choices, OTHER + 1)
        self._offsets, self._reach = _offset_bits(tables.offsets)

    def modes(self, contexts: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[K, modes]."""
        return self._modes[contexts]

    def vectors(self, vectors: NDArray[np.int64], guess: Guess) -> NDArray[np.float32]:
        """Bits of vectors int64[2, C, K]: float32[C, K]."""
        choice = choice_of(vectors.transpose(1, 0, 2), guess)
        offset = np.clip(vectors - guess.near[:, None], -self._reach, self._reach) + self._reach
        spelled = self._offsets[guess.spread, offset[0]] + self._offsets[SPREADS + guess.spread, offset[1]]
        bits: NDArray[np.float32] = self._choices[guess.context, choice] + spelled * (choice == OTHER)
        return bits


class Chooser:
    """Chooses the modes and vectors of one frame."""

    def __init__(
        self,
        path: LinearPath,
        costs: Costs,
        reference: Reference,
        step: float,
        weights: Weights = DEFAULT_WEIGHTS,
    ) -> None:
        """Args: step, the quantisation step of most latents, in grey levels."""
        self._path, self._costs, self._weights, self._reference = path, costs, weights, reference
        self._match_bit = weights.bit * step * step * _BRIGHTNESS

    def choose(
        self, scaled: NDArray[np.float32], image: NDArray[np.uint8], looked_at: NDArray[np.bool_]
    ) -> tuple[Field, NDArray[np.int16]]:
        """Chooses how each position is predicted, and what is coded.

        Args:
            scaled: float32[M, h, w], latents in quantisation steps, not rounded.
            image: uint8[16h, 16w, 3] RGB, the picture that they come from.
            looked_at: bool[h, w], positions that may be coded; all others are held.

        Returns:
            The field, and int16[M, h, w], the latents to code.
        """
        rows, columns = looked_at.shape
        reference, flat = self._reference, scaled.reshape(len(scaled), -1)
        held, remembered = (each.reshape(len(flat), -1) for each in (reference.latents, reference.memory.values))
        values, where = held.copy(), np.flatnonzero(looked_at)
        if len(where) == 0:
            return Field.without_motion(looked_at), values.reshape(scaled.shape)
        matching = Matching(brightness(image), brightness(reference.picture))
        tried = candidates(matching, where // columns, where % columns, reference.field)
        drift = most_common(tried[:, OWN])
        known = Known(reference.field, drift, reference.covered)
        number = np.zeros(rows * columns, np.int64)
        number[where] = np.arange(len(where))
        for positions in passes(looked_at):
            vectors = self._vectors(known, matching, positions, columns, tried[:, :, number[positions]])
            predictions = [held[:, positions], remembered[:, positions]]
            modes, values[:, positions] = self._modes(
                known, positions, columns, flat[:, positions], predictions, vectors
            )
            known.learn_modes(positions, modes)
            travelled, split = has_vectors(modes), is_split(modes)
            chosen = np.where(split[None, :, None, None], vectors[1].vectors, vectors[0].vectors).astype(np.int64)
            known.learn(positions[travelled], 0, chosen[:, travelled, 0, 0])
            for part in range(1, 4):
                known.learn(positions[split], part, chosen[:, split, part // 2, part % 2])
        return known.field(rows), values.reshape(scaled.shape)

    def _vectors(
        self,
        known: Known,
        matching: Matching,
        positions: Positions,
        columns: int,
        tried: NDArray[np.int64],
    ) -> tuple[_Vectors, _Vectors]:
        """The best vector of each position, and the best four; tried int64[2, C, K]."""
        row, column = np.divmod(positions, columns)
        worth = self._match_bit
        guess = known.guess(positions, 0)
        tried = np.concatenate([tried, np.stack([guess.near, guess.next, guess.before], 1)], 1)
        matches = matching.whole(row, column, tried)
        bits = self._costs.vectors(tried, guess)
        best = (matches.sum(2) + worth * bits).argmin(0)
        vector = picked(tried, best)
        whole = vector[:, :, None, None].repeat(2, 2).repeat(2, 3)
        one = _Vectors(whole.astype(np.int8), np.take_along_axis(bits, best[None], 0)[0])
        parts = np.zeros_like(whole)
        total = np.zeros(len(positions), np.float32)
        for part in range(4):
            if part:
                guess = known.guess(positions, part)
                also = np.stack([guess.near, guess.next, guess.before], 1)
                match = matching.part(row, column, part, also)
                here, costs = np.concatenate([tried, also], 1), np.concatenate([matches[..., part], match])
            else:
                here, costs = tried, matches[..., 0]
            bits = self._costs.vectors(here, guess)
            best = (costs + worth * bits).argmin(0)
            parts[:, :, part // 2, part % 2] = picked(here, best)
            total += np.take_along_axis(bits, best[None], 0)[0]
            known.learn(positions, part, parts[:, :, part // 2, part % 2])
            if part == 0:
                known.split(positions)
        known.unlearn(positions)
        return one, _Vectors(parts.astype(np.int8), total)

    def _modes(
        self,
        known: Known,
        positions: Positions,
        columns: int,
        wanted: NDArray[np.float32],
        there: list[NDArray[np.int16]],
        vectors: tuple[_Vectors, _Vectors],
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Of K positions their modes, int64[K], and what is coded, int32[M, K].

        Args:
            wanted: float32[M, K], latents; there: int16[M, K] each, the reference's and the background's.
        """
        weights = self._weights
        row, column = np.divmod(positions, columns)
        bits = self._costs.modes(known.mode_contexts(positions)).T
        rounded = np.clip(np.rint(wanted), -LATENT_MAX, LATENT_MAX).astype(np.int32)
        left = np.square(wanted - rounded).sum(0)
        costs = np.empty((len(Mode), len(positions)), np.float32)
        costs[Mode.HELD] = np.square(wanted - there[0]).sum(0) / weights.bit
        nearest: list[NDArray[np.int32]] = []
        for kind, mode in enumerate((Mode.HELD, Mode.MOTION, Mode.SPLIT, Mode.BACKGROUND)):
            extra = np.zeros(len(positions), np.float32)
            if mode in (Mode.MOTION, Mode.SPLIT):
                each = vectors[kind - 1]
                eighths = predicted(
                    self._path, self._reference.picture, row, column, each.vectors, self._reference.quality
                )
                whole, extra = (eighths + EIGHTHS // 2) // EIGHTHS, each.bits
            else:
                whole = there[mode == Mode.BACKGROUND].astype(np.int32)
            nearest.append(whole)
            if mode != Mode.HELD:
                costs[mode] = np.square(wanted - whole).sum(0) / weights.bit + extra + bits[mode]
            difference = self._difference_bits(rounded - whole)
            costs[mode + 1] = left / weights.bit + difference + extra + bits[mode + 1]
        modes = costs.argmin(0)
        predicted_by = np.choose(modes // 2, nearest)
        return modes, np.where(modes & 1, rounded, predicted_by)

    def _difference_bits(self, differences: NDArray[np.int32]) -> NDArray[np.float32]:
        """About what the differences of each position take, float32[K]."""
        weights = self._weights
        magnitude = np.abs(differences)
        doublings = np.log2(1 + magnitude, dtype=np.float32).sum(0)
        each: NDArray[np.float32] = weights.symbol * (magnitude > 0).sum(0) + weights.doubling * doublings
        each += np.float32(weights.position)
        return each


@dataclass(frozen=True)
class _Vectors:
    """int8[2, K, 2, 2], of each position's four blocks; bits float32[K]."""

    vectors: NDArray[np.int8]
    bits: NDArray[np.float32]


def _bits(tables: Tables, symbols: int) -> NDArray[np.float32]:
    """Bits of the symbols 0 and up under each table, float32[tables, symbols]."""
    starts = np.cumsum(tables.lengths.astype(np.int64)) - tables.lengths
    places = starts[:, None] - tables.lowest[:, None] + np.arange(symbols)
    bits: NDArray[np.float32] = -np.log2(tables.frequencies[places] / TOTAL).astype(np.float32)
    return bits


def _offset_bits(tables: Tables) -> tuple[NDArray[np.float32], int]:
    """Bits of offsets -reach..reach under each table, and the reach; what lies beyond is taken to cost the same."""
    reach = int(-tables.lowest.max())
    starts = np.cumsum(tables.lengths.astype(np.int64)) - tables.lengths
    places = starts[:, None] - tables.lowest[:, None] + np.arange(-reach, reach + 1)
    return -np.log2(tables.frequencies[places] / TOTAL).astype(np.float32), reach
