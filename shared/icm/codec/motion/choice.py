"""The encoder's choice of modes and vectors, by rate and distortion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icm.codec.entropy.tables import TOTAL, Tables
from icm.codec.latents.field import Field, Mode, has_vectors, is_split
from icm.codec.latents.latents import LATENT_MAX
from icm.codec.motion.coding import OTHER, FieldTables, passes
from icm.codec.motion.known import MotionContext, Positions
from icm.codec.motion.linear_path import LinearPath
from icm.codec.motion.prediction import Prediction, predicted, whole_steps
from icm.codec.motion.reference import Reference
from icm.codec.motion.search import BRIGHTNESS_STEPS, OWN, Matching, brightness, candidates, most_common
from icm.codec.native import library
from icm.codec.predict.skip import RD_LAMBDA

_BRIGHTNESS = 0.14
"""Squared error of brightness in the search that counts as much as one of latents, which leave out fine detail. Found
by trying: vectors that follow the detail cost more than they save."""


@dataclass(frozen=True)
class Weights:
    """What bits are worth.

    Attributes:
        bit: squared error in quantisation steps that a bit is worth, as in ``skip_decision``.
        symbol: bits that a difference takes, about, for each number that is not 0. Found by trying.
        doubling: bits, about, for each doubling of its magnitude. Found by trying.
        position: bits, about, for the position as a whole, where every 0 costs something too. Found by trying.
    """

    bit: float = RD_LAMBDA
    symbol: float = 4.0
    doubling: float = 2.0
    position: float = 28.0


DEFAULT_WEIGHTS = Weights()


class Costs:
    """Bits of symbols under a frame's tables."""

    def __init__(self, tables: FieldTables) -> None:
        self._modes, self._choices = _bits(tables.modes, len(Mode)), _bits(tables.choices, OTHER + 1)
        self._offsets, self._reach = _offset_bits(tables.offsets)

    def modes(self, contexts: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[K, modes]."""
        return self._modes[contexts]

    def native(self, worth: float) -> library.Costs:
        """Those of vectors, as compiled code sees them; worth, the squared units of brightness that a bit is worth."""
        return library.Costs(self._choices.ctypes.data, self._offsets.ctypes.data, self._reach, worth)


@dataclass(frozen=True)
class Decision:
    """How a frame is coded.

    Attributes:
        field: modes and vectors.
        values: int16[M, h, w], about what is to be coded (``encode_chosen`` knows better).
        prediction: what the field says of them.
    """

    field: Field
    values: NDArray[np.int16]
    prediction: Prediction


class ModeDecision:
    """Chooses the modes and vectors of one frame."""

    def __init__(
        self,
        path: LinearPath,
        costs: Costs,
        reference: Reference,
        searched: NDArray[np.int16],
        step: float,
        weights: Weights = DEFAULT_WEIGHTS,
    ) -> None:
        """Prepares the decisions of one frame.

        Args:
            searched: int16[16h, 16w, 3], the reference as a picture like the camera's, in sixteenths of a grey level.
            step: the quantisation step of most latents, in grey levels.
        """
        self._path, self._costs, self._reference, self._searched = path, costs, reference, searched
        self._vector_costs = costs.native(weights.bit * (step * BRIGHTNESS_STEPS) ** 2 * _BRIGHTNESS)
        self._weights = library.Weights(
            1 / weights.bit, weights.symbol, weights.doubling, weights.position, _DOUBLINGS.ctypes.data, len(_DOUBLINGS)
        )

    def choose(self, scaled: NDArray[np.float32], image: NDArray[np.uint8], looked_at: NDArray[np.bool_]) -> Decision:
        """Chooses how each position is predicted, and what is coded.

        Args:
            scaled: float32[M, h, w], latents in quantisation steps, not rounded.
            image: uint8[16h, 16w, 3] RGB, the picture that they come from.
            looked_at: bool[h, w], positions that may be coded; all others are held.
        """
        reference, where = self._reference, np.flatnonzero(looked_at)
        values = reference.latents.copy()
        if len(where) == 0:
            field = Field.without_motion(looked_at)
            return Decision(field, values, Prediction.of(field, reference, np.zeros((0, len(scaled)), np.int32)))
        matching = Matching(brightness(image), brightness(self._searched))
        tried = candidates(matching, where, reference.field)
        known = MotionContext(reference.field, most_common(tried[:, OWN]), reference.foreground)
        wanted, held, remembered = (
            np.ascontiguousarray(plane.reshape(len(scaled), -1)[:, where].T)
            for plane in (scaled, reference.latents, reference.memory.values)
        )
        coded, eighths = np.empty(held.shape, np.int16), np.empty(held.shape, np.int32)
        number = np.zeros(looked_at.size, np.int64)
        number[where] = np.arange(len(where))
        for positions in passes(looked_at):
            rows = number[positions]
            vectors = self._vectors(known, matching, positions, tried[:, :, rows])
            modes, coded[rows], eighths[rows] = self._modes(
                known, positions, wanted[rows], (held[rows], remembered[rows]), vectors
            )
            known.learn_modes(positions, modes)
            has_motion, split = has_vectors(modes), is_split(modes)
            chosen = np.where(split[:, None], vectors[1].vectors, vectors[0].vectors)
            known.learn(positions[has_motion], 0, chosen[:, has_motion, 0])
            known.split(positions[split])
            for part in range(1, 4):
                known.learn(positions[split], part, chosen[:, split, part])
        values.reshape(len(values), -1)[:, where] = coded.T
        field = known.field()
        return Decision(field, values, Prediction.of(field, reference, eighths[field.has_motion.ravel()[where]]))

    def _vectors(
        self, known: MotionContext, matching: Matching, positions: Positions, tried: NDArray[np.int64]
    ) -> tuple[_Vectors, _Vectors]:
        """The best vector of each position, and the best four; tried int64[2, C, K]."""
        count = len(positions)
        one, four = np.empty((2, count), np.int64), np.empty((2, count, 4), np.int64)
        one_bits, four_bits = np.empty(count, np.float32), np.empty(count, np.float32)
        library.choose_vectors(
            known.native, matching.native, self._vector_costs, positions, count,
            np.ascontiguousarray(tried), tried.shape[1], one, one_bits, four, four_bits,
        )  # fmt: skip
        return _Vectors(one[..., None].repeat(4, 2), one_bits), _Vectors(four, four_bits)

    def _modes(
        self,
        known: MotionContext,
        positions: Positions,
        wanted: NDArray[np.float32],
        there: tuple[NDArray[np.int16], NDArray[np.int16]],
        vectors: tuple[_Vectors, _Vectors],
    ) -> tuple[NDArray[np.int64], NDArray[np.int16], NDArray[np.int32]]:
        """Of K positions their modes, int64[K], about what to code, int16[K, M], and what motion says, int32[K, M].

        Args:
            wanted: float32[K, M], latents.
            there: int16[K, M] each, the reference's and the background's.
        """
        count, channels = wanted.shape
        one, four = vectors
        # Where all four vectors are the one, there is nothing to compute twice.
        differ = np.flatnonzero((one.vectors != four.vectors).any((0, 2)))
        eighths = predicted(
            self._path,
            self._reference.picture,
            np.concatenate([positions, positions[differ]]),
            np.concatenate([one.vectors, four.vectors[:, differ]], 1).astype(np.int8),
            self._reference.quality,
        )
        by_one, by_four = eighths[:count], eighths[:count].copy()
        by_four[differ] = eighths[count:]
        predictions = np.stack([there[0], whole_steps(by_one), whole_steps(by_four), there[1]])
        extra = np.zeros((len(predictions), count), np.float32)
        extra[1], extra[2] = one.bits, four.bits
        rounded = np.clip(np.rint(wanted), -LATENT_MAX, LATENT_MAX).astype(np.int16)
        modes, coded = np.empty(count, np.int64), np.empty((count, channels), np.int16)
        bits = self._costs.modes(known.mode_contexts(positions))
        library.choose_modes(
            self._weights, count, channels, wanted, rounded, predictions, extra, bits, modes, coded
        )  # fmt: skip
        return modes, coded, np.where(is_split(modes)[:, None], by_four, by_one)


@dataclass(frozen=True)
class _Vectors:
    """int64[2, K, 4], of each position's four blocks; bits float32[K]."""

    vectors: NDArray[np.int64]
    bits: NDArray[np.float32]


_DOUBLINGS = np.log2(1 + np.arange(1024)).astype(np.float32)
"""Of magnitudes; what is larger counts as the largest."""


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
