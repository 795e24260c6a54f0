"""A frame's field on the stream: its map of moved positions, then modes and vectors pass by pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from icm.codec.entropy.coder import pop_integer, pop_symbols, push_integer, push_symbols
from icm.codec.entropy.skip_map import PASSES, Map, pop_map, push_map
from icm.codec.entropy.tables import Tables
from icm.codec.latents.field import VECTOR_MAX, Field, Mode, has_vectors, is_split
from icm.codec.motion.known import MODE_CONTEXTS, SPREADS, VECTOR_CONTEXTS, MotionContext, Positions
from icm.errors import BundleError, RecordError

NEAR, NEXT, BEFORE, ZERO, OTHER = range(5)
"""Which vector it is: one of three guesses, none, or one that is spelled out."""


class FieldTables:
    """The frequency tables of maps, modes and vectors."""

    def __init__(self, skip_map_tables: Tables, modes: Tables, choices: Tables, offsets: Tables) -> None:
        """Creates the set of tables.

        Args:
            skip_map_tables: one per context of the skip map: see ``skip_map.contexts``.
            modes: one per context, symbols are modes.
            choices: one per context of vectors, symbols ``NEAR`` to ``OTHER``.
            offsets: of a spelled-out vector from its guess, by spread, rows and then columns.

        Raises:
            BundleError: there are more or fewer tables than the format has.
        """
        self.skip_map_tables, self.modes, self.choices, self.offsets = skip_map_tables, modes, choices, offsets
        if (len(modes), len(choices), len(offsets)) != (MODE_CONTEXTS, VECTOR_CONTEXTS, 2 * SPREADS):
            raise BundleError("the frequency tables of modes and vectors do not fit the format")


@dataclass(frozen=True)
class Symbols:
    """Some symbols of a field.

    Attributes:
        kind: whose tables they are under: "modes", "choices" or "offsets".
        values: int32[K].
        indexes: int32[K], rising, of each the table.
    """

    kind: Literal["modes", "choices", "offsets"]
    values: NDArray[np.int32]
    indexes: NDArray[np.int32]


class Source(Protocol):
    """Where a walk's modes and vectors come from; all arrays are of K positions or symbols."""

    def modes(self, positions: Positions, contexts: NDArray[np.int64]) -> NDArray[np.int64]: ...

    def vectors(self, positions: Positions, part: int, known: MotionContext) -> NDArray[np.int64]: ...


def follow(source: Source, updated: Map, last: Field, global_motion: tuple[int, int], foreground: Map) -> Field:
    """Walks through a field in the order in which it is coded.

    Args:
        updated: bool[h, w], positions that have a mode.
        last: the field of the frame that this one refers to.
        global_motion: see ``MotionContext``.
        foreground: see ``MotionContext``.
    """
    known = MotionContext(last, global_motion, foreground)
    for positions in passes(updated):
        modes = source.modes(positions, known.mode_contexts(positions))
        known.learn_modes(positions, modes)
        has_motion = positions[has_vectors(modes)]
        if len(has_motion):
            known.learn(has_motion, 0, source.vectors(has_motion, 0, known))
        split = positions[is_split(modes)]
        if len(split):
            known.split(split)
            for part in range(1, 4):
                known.learn(split, part, source.vectors(split, part, known))
    return known.field()


def passes(updated: Map) -> Iterator[Positions]:
    """The moved positions of each pass that has any."""
    rows, columns = np.nonzero(updated)
    for row, column in PASSES:
        here = (rows % 2 == row) & (columns % 2 == column)
        if here.any():
            yield rows[here] * updated.shape[1] + columns[here]


def symbols(field: Field, last: Field, foreground: Map) -> list[Symbols]:
    """What a field's modes and vectors are coded as, in order; arguments as in ``follow``."""
    writer = _Writer(field)
    follow(writer, field.updated, last, field.global_motion, foreground)
    return writer.symbols


def push_field(coder: Any, field: Field, last: Field, foreground: Map, tables: FieldTables) -> None:
    """Pushes a field; arguments as in ``follow``."""
    for part in reversed(symbols(field, last, foreground)):
        push_symbols(coder, part.values, part.indexes, getattr(tables, part.kind))
    for component in reversed(field.global_motion):
        push_integer(coder, component)
    push_map(coder, field.updated, last.updated, tables.skip_map_tables)


def pop_field(coder: Any, last: Field, foreground: Map, tables: FieldTables) -> Field:
    """What ``push_field`` pushed.

    Raises:
        RecordError: the stream holds no field.
    """
    updated = pop_map(coder, last.updated, tables.skip_map_tables)
    global_motion = pop_integer(coder), pop_integer(coder)
    if max(map(abs, global_motion)) > VECTOR_MAX:
        raise RecordError("the payload is damaged: the picture's drift is out of range")
    field = follow(_Reader(coder, tables), updated, last, global_motion, foreground)
    if global_motion != (0, 0) and not field.has_motion.any():
        raise RecordError("the payload is damaged: the picture drifts, and nothing has a vector")
    return field


class _Writer:
    """Notes the symbols of a field that is known."""

    def __init__(self, field: Field) -> None:
        self._modes = field.modes.ravel().astype(np.int64)
        self._vectors = field.vectors.astype(np.int64)
        self._columns = field.modes.shape[1]
        self.symbols: list[Symbols] = []

    def modes(self, positions: Positions, contexts: NDArray[np.int64]) -> NDArray[np.int64]:
        modes = self._modes[positions]
        self._note(modes, contexts, "modes")
        return modes

    def vectors(self, positions: Positions, part: int, known: MotionContext) -> NDArray[np.int64]:
        row, column = np.divmod(positions, self._columns)
        vectors = self._vectors[:, 2 * row + part // 2, 2 * column + part % 2]
        choice, context, *offsets, spread = known.choices(positions, part, vectors)
        self._note(choice, context, "choices")
        other = choice == OTHER
        if other.any():
            for axis, offset in enumerate(offsets):
                self._note(offset[other], axis * SPREADS + spread[other], "offsets")
        return vectors

    def _note(
        self, values: NDArray[np.int64], indexes: NDArray[np.int64], kind: Literal["modes", "choices", "offsets"]
    ) -> None:
        order = np.argsort(indexes, kind="stable")
        self.symbols.append(Symbols(kind, values[order].astype(np.int32), indexes[order].astype(np.int32)))


class _Reader:
    """Pops the symbols of a field."""

    def __init__(self, coder: Any, tables: FieldTables) -> None:
        self._coder, self._tables = coder, tables

    def modes(self, positions: Positions, contexts: NDArray[np.int64]) -> NDArray[np.int64]:
        modes = self._pop(contexts, self._tables.modes, max(Mode))
        if (modes == Mode.SKIP).any() or (modes < 0).any():
            raise RecordError("the payload is damaged: a position that moved has no mode")
        return modes

    def vectors(self, positions: Positions, part: int, known: MotionContext) -> NDArray[np.int64]:
        guess = known.guess(positions, part)
        choice = self._pop(guess.context, self._tables.choices, OTHER)
        vectors = np.zeros(guess.near.shape, np.int64)
        for which, guessed in ((NEAR, guess.near), (NEXT, guess.next), (BEFORE, guess.before)):
            vectors = np.where(choice == which, guessed, vectors)
        other = choice == OTHER
        for axis in range(2):
            offset = self._pop(axis * SPREADS + guess.spread[other], self._tables.offsets, 2 * VECTOR_MAX)
            vectors[axis, other] = guess.near[axis, other] + offset
        if np.abs(vectors).max(initial=0) > VECTOR_MAX or (choice < 0).any():
            raise RecordError("the payload is damaged: a vector is out of range")
        return vectors

    def _pop(self, indexes: NDArray[np.int64], tables: Tables, largest: int) -> NDArray[np.int64]:
        order = np.argsort(indexes, kind="stable")
        values = np.empty(len(indexes), np.int64)
        values[order] = pop_symbols(self._coder, indexes[order].astype(np.int32), tables, largest)
        return values
