"""The integers between the transforms and the entropy coder: what a record promises to carry exactly."""

from __future__ import annotations

from dataclasses import dataclass

import google_crc32c
import numpy as np
from numpy.typing import NDArray

STRIDE = 16
"""Pixels a latent spans, in each direction."""
HYPER_STRIDE = 4
"""Latents a hyper-latent spans, in each direction."""
LATENT_MAX = 32_767
HYPER_MAX = 63
QUALITY_STEPS = 16
"""Quality units per quality level."""


@dataclass(frozen=True)
class Latents:
    """One frame after quantisation.

    Attributes:
        values: int16[M, h, w], the latents; h and w count blocks of 16 pixels.
        hyper: int8[N, ceil(h/4), ceil(w/4)], the hyper-latents, within -63..63; of a P record, int8[N, 0, 0].
        moved: bool[h, w], positions whose latents differ from the frame that this one leans on.
        quality: 1/16 quality levels.
        width, height: of the picture, in pixels.
    """

    values: NDArray[np.int16]
    hyper: NDArray[np.int8]
    moved: NDArray[np.bool_]
    quality: int
    width: int
    height: int

    def digest(self) -> int:
        """CRC32C of the latents (int16, little-endian, channel by channel), then of the map of moves (a byte each).

        Both are what the next frame leans on. A frame that is coded again, alone, keeps its digest.
        """
        crc = google_crc32c.value(self.values.astype("<i2").tobytes())
        return int(google_crc32c.extend(crc, self.moved.tobytes()))


def latent_size(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of the latents of a picture."""
    return -(-height // STRIDE), -(-width // STRIDE)


def hyper_size(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of the hyper-latents of a picture."""
    rows, columns = latent_size(width, height)
    return -(-rows // HYPER_STRIDE), -(-columns // HYPER_STRIDE)
