"""The map of moved positions on the stream: four interlaced passes, each flag under a table chosen by its neighbours.

Movement goes on where it was: the last map's flags around a position and those of this map that are known already
choose one of a few static tables, by counting alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm.codec.entropy.coder import pop_symbols, push_symbols
from icm.codec.entropy.tables import Tables

Map = NDArray[np.bool_]
"""bool[h, w], true at positions whose latents differ from the reference's."""

PASSES = ((0, 0), (1, 1), (0, 1), (1, 0))
"""Row and column, each modulo 2, of the positions of each pass; a later pass sees all earlier ones."""
_LAST_BUCKETS = np.array([0, 1, 1, 2, 2, 2, 3, 3, 3], np.int32)
"""Of 0..8 neighbours that moved last time."""
_KNOWN_BUCKETS = np.array([0, 1, 2, 3, 4, 4, 4, 4, 4], np.int32)
"""Of 0..8 neighbours that are known to have moved this time."""
CONTEXTS = len(PASSES) * 2 * 4 * 5


def contexts(updated: Map, last: Map) -> list[tuple[tuple[slice, slice], NDArray[np.int32]]]:
    """For each pass, where its positions are and the table of each, int32[n].

    A pass's tables depend on ``last`` and on the passes of ``updated`` before it, so a decoder can call this again
    after each pass.
    """
    before = _neighbours(last)
    known = np.zeros_like(updated)
    result = []
    for number, (row, column) in enumerate(PASSES):
        where = slice(row, None, 2), slice(column, None, 2)
        near = _KNOWN_BUCKETS[_neighbours(known)[where]]
        table = (number * 2 + last[where]) * 4 + _LAST_BUCKETS[before[where]]
        result.append((where, (table * 5 + near).astype(np.int32).ravel()))
        known[where] = updated[where]
    return result


def push_map(coder: Any, updated: Map, last: Map, tables: Tables) -> None:
    """Pushes a map, given the map of the frame before; both bool[h, w]."""
    passes = contexts(updated, last)
    flags = np.concatenate([updated[where].ravel() for where, _ in passes]).astype(np.int32)
    # A later pass has later tables, so grouped by table all passes lie in their order.
    indexes = np.concatenate([tables_of for _, tables_of in passes])
    order = np.argsort(indexes, kind="stable")
    push_symbols(coder, flags[order], indexes[order], tables)


def pop_map(coder: Any, last: Map, tables: Tables) -> Map:
    """What ``push_map`` pushed."""
    updated = np.zeros_like(last)
    for number in range(len(PASSES)):
        where, indexes = contexts(updated, last)[number]
        order = np.argsort(indexes, kind="stable")
        flags = np.empty(len(indexes), bool)
        flags[order] = pop_symbols(coder, indexes[order], tables, 1) != 0
        updated[where] = flags.reshape(updated[where].shape)
    return updated


def _neighbours(flags: Map) -> NDArray[np.uint8]:
    """How many of the eight positions around each are set, uint8[h, w]."""
    height, width = flags.shape
    padded = np.zeros((height + 2, width + 2), np.uint8)
    padded[1:-1, 1:-1] = flags
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    around: NDArray[np.uint8] = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] - flags
    return around
