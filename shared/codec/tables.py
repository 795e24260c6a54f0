"""Frequency tables as integers, and the range coder's models made from them.

A table gives every symbol a frequency of at least 1, and all frequencies sum to 2**24. The coder library takes
probabilities as floats, adds 1 to the share of each of K symbols and scales the rest to 2**24 - K; handed
``frequency - 1`` as whole numbers that sum to exactly that, its scale is exactly 1 and its table is ours. A test
decodes its output with a plain integer decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from shared.errors import BundleError

TOTAL = 1 << 24


class Tables:
    """A list of frequency tables over runs of consecutive integers.

    The last symbol of each is the escape, for values outside the run.
    """

    def __init__(
        self,
        frequencies: NDArray[np.uint32],
        lengths: NDArray[np.uint16],
        lowest: NDArray[np.int16],
        certain: NDArray[np.bool_],
    ) -> None:
        """Checks the tables and makes their models.

        Args:
            frequencies: uint32, all tables end to end.
            lengths: of each table, its escape included.
            lowest: the value of each table's first symbol.
            certain: tables whose most frequent symbol is taken for granted and not coded at all.

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
        self.escapes = lengths.astype(np.int32) - 1
        peaks = np.array([int(part.argmax()) for part in parts], np.int32)
        self.certain = certain.astype(bool)
        self.certain_values = peaks + self.lowest

    def __len__(self) -> int:
        return len(self.lengths)

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
            f"{name}_certain": self.certain,
        }


def normalised(weights: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Nonnegative weights, float64[K] -> frequencies uint32[K], each at least 1, that sum to 2**24."""
    spare = TOTAL - len(weights)
    shares = np.floor(weights / weights.sum() * spare).astype(np.int64)
    shares[int(weights.argmax())] += spare - shares.sum()
    frequencies: NDArray[np.uint32] = (shares + 1).astype(np.uint32)
    return frequencies
