"""Which whole numbers an encoder codes in place of latents: by rate and distortion, not merely the nearest.

The nearest whole number is seldom the best: what is expected costs a fraction of a bit, what is not costs five and
more, and where the latent lies between the two both are nearly as good. Source: M. Karczewicz, Y. Ye, I. Chong, "Rate
distortion optimized quantization", ITU-T SG16/Q6 VCEG-AH21, 2008.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icm.codec.entropy.coder import Prediction
from icm.codec.entropy.tables import TOTAL, Tables
from icm.codec.native import library

_ESCAPE_BITS = 20.0
"""What a value beyond its table takes besides the escape, about."""
_EXCEPTION_BITS = 40.0
"""What a value takes that differs from one that was deterministic, about."""


class Quantiser:
    """Chooses values under a list of tables."""

    def __init__(self, tables: Tables) -> None:
        ends = np.cumsum(tables.lengths, dtype=np.int64)
        bits = -np.log2(tables.frequencies / TOTAL)
        bits[ends - 1] += _ESCAPE_BITS
        for table in np.flatnonzero(tables.deterministic).tolist():
            bits[ends[table] - tables.lengths[table] : ends[table]] = _EXCEPTION_BITS
        sure = tables.deterministic
        bits[(ends - tables.lengths + tables.certain_values - tables.lowest)[sure]] = 0
        self._bits = bits.astype(np.float32)
        self._ranges = np.stack([ends - tables.lengths, tables.lengths.astype(np.int64), tables.lowest]).astype(
            np.int64
        )

    def __call__(self, wanted: NDArray[np.float32], expected: Prediction, worth: float) -> NDArray[np.int32]:
        """The best of a few whole numbers near each value.

        Args:
            wanted: float32[n], in the units that are coded.
            expected: what is known of them.
            worth: squared error that a bit is worth.

        Returns:
            int32[n].
        """
        chosen = np.empty(len(wanted), np.int32)
        library.quantise(
            len(wanted), np.ascontiguousarray(wanted), expected.means, expected.indexes,
            self._bits, self._ranges, self._ranges.shape[1], worth, chosen,
        )  # fmt: skip
        return chosen
