"""What stood at each position for long: the latents that something which passes by uncovers again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REST = 16
"""Frames after which what did not move meanwhile is taken into memory."""


@dataclass(frozen=True)
class BackgroundMemory:
    """The background as both ends know it.

    Attributes:
        values: int16[M, h, w], latents of the frame's quality.
        updated_since: bool[h, w], positions that moved since ``count`` was 0.
        count: frames since then, below ``REST``.
    """

    values: NDArray[np.int16]
    updated_since: NDArray[np.bool_]
    count: int

    @staticmethod
    def of(values: NDArray[np.int16]) -> BackgroundMemory:
        """That of a frame that nothing is known to have come before."""
        return BackgroundMemory(values, np.zeros(values.shape[1:], bool), 0)

    def after(self, values: NDArray[np.int16], updated: NDArray[np.bool_]) -> BackgroundMemory:
        """The next frame's: int16[M, h, w], its latents; bool[h, w], which of them moved."""
        updated_since, count = self.updated_since | updated, self.count + 1
        if count < REST:
            return BackgroundMemory(self.values, updated_since, count)
        return BackgroundMemory(np.where(updated_since, self.values, values), np.zeros_like(updated_since), 0)

    def differs(self, values: NDArray[np.int16]) -> NDArray[np.bool_]:
        """bool[h, w], positions where latents int16[M, h, w] are not as remembered."""
        differs: NDArray[np.bool_] = (self.values != values).any(0)
        return differs
