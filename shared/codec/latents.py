"""The integers between the transforms and the entropy coder: what a record promises to carry exactly."""

from __future__ import annotations

from dataclasses import dataclass

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from shared.codec.motion.field import Field

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
        motion: how the moved positions were predicted; None where none of them has a vector.
    """

    values: NDArray[np.int16]
    hyper: NDArray[np.int8]
    moved: NDArray[np.bool_]
    quality: int
    width: int
    height: int
    motion: Field | None = None

    @staticmethod
    def of_field(
        values: NDArray[np.int16], hyper: NDArray[np.int8], field: Field, quality: int, width: int, height: int
    ) -> Latents:
        """A frame whose positions were predicted in this way."""
        motion = field if field.travelled.any() else None
        return Latents(values, hyper, field.moved, quality, width, height, motion)

    @property
    def field(self) -> Field:
        """How every position was predicted."""
        return Field.without_motion(self.moved) if self.motion is None else self.motion

    def digest(self) -> int:
        """CRC32C of the latents (int16, little-endian, channel by channel), then of the map of moves (a byte each).

        Where something has a vector, modes (a byte each) and vectors (signed bytes, rows then columns) follow. All that
        is what the next frame leans on. A frame that is coded again, alone, keeps its digest.
        """
        crc = google_crc32c.value(self.values.astype("<i2").tobytes())
        crc = google_crc32c.extend(crc, self.moved.tobytes())
        if self.motion is not None:
            crc = google_crc32c.extend(crc, self.motion.modes.tobytes() + self.motion.vectors.tobytes())
        return int(crc)


def latent_size(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of the latents of a picture."""
    return -(-height // STRIDE), -(-width // STRIDE)


def hyper_size(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of the hyper-latents of a picture."""
    rows, columns = latent_size(width, height)
    return -(-rows // HYPER_STRIDE), -(-columns // HYPER_STRIDE)
