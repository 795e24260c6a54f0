"""Frequency tables as integers, and the range coder's models made from them.

A table gives every symbol a frequency of at least 1, and all frequencies sum to 2**24. The coder library takes
probabilities as floats, adds 1 to the share of each of K symbols and scales the rest to 2**24 - K; handed
``frequency - 1`` as whole numbers that sum to exactly that, its scale is exactly 1 and its table is ours. A test
decodes its output with a plain integer decoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from icm.errors import BundleError

TOTAL = 1 << 24
_FAMILY = constriction.stream.model.Categorical(perfect=False)
"""A model whose frequencies are given for each symbol; the same stream comes of it."""
_LONGEST_ROW = 64
"""Symbols of a table up to which handing over its frequencies for each symbol may pay."""
_WORTH_A_CALL = 32
"""Symbols under one table from which on a call of their own costs less than their frequencies do."""


class Tables:
    """A list of frequency tables over runs of consecutive integers.

    The last symbol of each is the escape, for values outside the run.
    """

    def __init__(
        self,
        frequencies: NDArray[np.uint32],
        lengths: NDArray[np.uint16],
        lowest: NDArray[np.int16],
        deterministic: NDArray[np.bool_],
    ) -> None:
        """Checks the tables and makes their models.

        Args:
            frequencies: uint32, all tables end to end.
            lengths: of each table, its escape included.
            lowest: the value of each table's first symbol.
            deterministic: tables whose most frequent symbol is taken for granted and not coded at all.

        Raises:
            BundleError: a table is empty, holds a 0, or does not sum to 2**24.
        """
        self.frequencies, self.lengths, self.lowest = frequencies, lengths, lowest.astype(np.int32)
        ends = np.cumsum(lengths, dtype=np.int64)
        if len(lengths) == 0 or lengths.min() < 2 or ends[-1] != len(frequencies) or frequencies.min() < 1:
            raise BundleError("the bundle's frequency tables are malformed: an empty table or a zero frequency")
        sums = np.add.reduceat(frequencies.astype(np.int64), ends - lengths)
        if (sums != TOTAL).any():
            raise BundleError(f"frequency table {int((sums != TOTAL).argmax())} does not sum to 2**24")
        parts = np.split(frequencies, ends[:-1])
        self.models: list[Any] = [
            constriction.stream.model.Categorical((part - 1).astype(np.float64), perfect=False) for part in parts
        ]
        self._rows, self._row_of = _by_length(parts, lengths)
        self.escapes = lengths.astype(np.int32) - 1
        peaks = np.array([int(part.argmax()) for part in parts], np.int32)
        self.deterministic = deterministic.astype(bool)
        self.certain_values = peaks + self.lowest

    def __len__(self) -> int:
        return len(self.lengths)

    def pieces(self, indexes: NDArray[np.int32]) -> list[tuple[int, int, tuple[Any, ...]]]:
        """How to code symbols under these tables, int32[k] with equal ones side by side, in as few calls as pay.

        Returns:
            (start, end, model and its parameters), in order; how symbols are divided up does not show in the stream.
        """
        if len(indexes) == 0:
            return []
        runs = _starts(indexes)
        first = _starts(self.lengths[indexes[runs]])
        result: list[tuple[int, int, tuple[Any, ...]]] = []
        ends = np.append(runs, len(indexes)).tolist()
        for begin, after in pairwise([*first.tolist(), len(runs)]):
            start, end = ends[begin], ends[after]
            rows = self._rows.get(int(self.lengths[indexes[start]]))
            if rows is not None and end - start < _WORTH_A_CALL * (after - begin):
                result.append((start, end, (_FAMILY, rows[self._row_of[indexes[start:end]]])))
            else:
                several = zip(ends[begin:after], ends[begin + 1 : after + 1], strict=True)
                result += [(a, b, (self.models[indexes[a]],)) for a, b in several]
        return result

    @staticmethod
    def from_arrays(stored: Mapping[str, NDArray[Any]], name: str) -> Tables:
        """The tables that ``arrays(name)`` made arrays of; raises BundleError if one of these is missing."""
        try:
            return Tables(*(stored[f"{name}_{part}"] for part in ("frequencies", "lengths", "lowest", "certain")))
        except KeyError as error:
            raise BundleError(f"the entropy model lacks the array {error.args[0]!r}") from None

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The tables as arrays to store."""
        return {
            f"{name}_frequencies": self.frequencies,
            f"{name}_lengths": self.lengths,
            f"{name}_lowest": self.lowest.astype(np.int16),
            f"{name}_certain": self.deterministic,
        }


def _by_length(
    parts: Sequence[NDArray[np.uint32]], lengths: NDArray[np.uint16]
) -> tuple[dict[int, NDArray[np.float32]], NDArray[np.int64]]:
    """What the coder takes for each symbol of short tables: by length float32[tables, length], and each table's row."""
    rows, row_of = {}, np.zeros(len(lengths), np.int64)
    for length in np.unique(lengths[lengths <= _LONGEST_ROW]).tolist():
        same = np.flatnonzero(lengths == length)
        rows[length] = (np.stack([parts[table] for table in same]) - 1).astype(np.float32)
        row_of[same] = np.arange(len(same))
    return rows, row_of


def _starts(values: NDArray[Any]) -> NDArray[np.int64]:
    """Where runs of equal values begin."""
    return np.concatenate(([0], np.flatnonzero(values[1:] != values[:-1]) + 1))


def normalised(weights: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Nonnegative weights, float64[K] -> frequencies uint32[K], each at least 1, that sum to 2**24."""
    spare = TOTAL - len(weights)
    shares = np.floor(weights / weights.sum() * spare).astype(np.int64)
    shares[int(weights.argmax())] += spare - shares.sum()
    frequencies: NDArray[np.uint32] = (shares + 1).astype(np.uint32)
    return frequencies
