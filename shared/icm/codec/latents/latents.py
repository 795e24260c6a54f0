"""The integers between the transforms and the entropy coder: what a record promises to carry exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from icm.codec.bitstream.record import VERSION, Kind
from icm.codec.latents.field import Field, Mode
from icm.codec.latents.memory import BackgroundMemory

STRIDE = 16
"""Pixels a latent spans, in each direction."""
HYPER_STRIDE = 4
"""Latents a hyper-latent spans, in each direction."""
LATENT_MAX = 32_767
HYPER_MAX = 63
_COVERS_QUALITY = 3
"""The first version of the record format whose digests do."""
QUALITY_STEPS = 16
"""Quality units per quality level."""


@dataclass(frozen=True)
class Latents:
    """One frame after quantisation.

    Attributes:
        values: int16[M, h, w], the latents; h and w count blocks of 16 pixels.
        hyper: int8[N, ceil(h/4), ceil(w/4)], the hyper-latents, within -63..63; of a P record, int8[N, 0, 0].
        updated: bool[h, w], positions whose latents differ from the frame that this one refers to.
        quality: 1/16 quality levels.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        motion: how the moved positions were predicted; None where every moved one was coded as a difference from what
            was there.
        memory: the background as it is remembered; None for what it is after a frame alone, the latents themselves.
    """

    values: NDArray[np.int16]
    hyper: NDArray[np.int8]
    updated: NDArray[np.bool_]
    quality: int
    width: int
    height: int
    motion: Field | None = None
    memory: BackgroundMemory | None = None

    def after(self, field: Field, before: BackgroundMemory) -> Latents:
        """These latents as a frame with motion: how it was predicted, and the background as remembered before it."""
        return self.with_state(field, before.after(self.values, field.updated))

    def with_state(self, field: Field, memory: BackgroundMemory) -> Latents:
        """The same latents with what a frame with motion leaves for the next one."""
        motion = field if (field.modes > Mode.PREVIOUS).any() else None
        return replace(self, updated=field.updated, motion=motion, memory=memory)

    @property
    def kind(self) -> Kind:
        """Of the record that they came in."""
        return Kind.I if self.hyper.size else Kind.P

    def looks_like(self, other: Latents) -> bool:
        """Whether both are the same picture, of one stream."""
        return self.quality == other.quality and np.array_equal(self.values, other.values)

    @property
    def field(self) -> Field:
        """How every position was predicted."""
        return Field.without_motion(self.updated) if self.motion is None else self.motion

    @property
    def background(self) -> BackgroundMemory:
        """The background as it is remembered after this frame."""
        return BackgroundMemory.of(self.values) if self.memory is None else self.memory

    def digest(self, version: int = VERSION) -> int:
        """What a record of this version of the format carries: CRC32C of the latents (int16, little-endian, channels
        first) and of the map of moves (a byte each).

        Of frames with motion follow modes (a byte each), vectors (signed bytes, rows then columns) and drift, and of
        those with a memory its latents, what stirred (a byte each) and its count (a byte). All that is what the next
        frame refers to. From version 3 on the quality (a byte) comes last: it says what picture the latents are. A
        frame that is coded again as an I frame keeps its digest.
        """
        crc = google_crc32c.value(self.values.astype("<i2").tobytes())
        crc = google_crc32c.extend(crc, self.updated.tobytes())
        if self.motion is not None:
            global_motion = np.array(self.motion.global_motion, np.int8).tobytes()
            crc = google_crc32c.extend(crc, self.motion.modes.tobytes() + self.motion.vectors.tobytes() + global_motion)
        if (memory := self.memory) is not None:
            crc = google_crc32c.extend(crc, memory.values.astype("<i2").tobytes())
            crc = google_crc32c.extend(crc, memory.updated_since.tobytes() + bytes([memory.count]))
        if version >= _COVERS_QUALITY:
            crc = google_crc32c.extend(crc, bytes([self.quality]))
        return int(crc)


def latent_size(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of the latents of a picture."""
    return -(-height // STRIDE), -(-width // STRIDE)


def hyper_size(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of the hyper-latents of a picture."""
    rows, columns = latent_size(width, height)
    return -(-rows // HYPER_STRIDE), -(-columns // HYPER_STRIDE)
