"""What a P record with motion refers to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icm.codec.latents.field import Field
from icm.codec.latents.memory import BackgroundMemory


@dataclass(frozen=True)
class Reference:
    """The frame before, at the quality of the frame that refers to it.

    Attributes:
        latents: int16[M, h, w].
        picture: int16[16h, 16w, 3], its linear picture.
        memory: the background as it is remembered after it.
        field: its own.
        quality: in sixteenths of a level.
    """

    latents: NDArray[np.int16]
    picture: NDArray[np.int16]
    memory: BackgroundMemory
    field: Field
    quality: int

    @property
    def foreground(self) -> NDArray[np.bool_]:
        """bool[h, w], positions where something stands before the background."""
        return self.memory.differs(self.latents)
