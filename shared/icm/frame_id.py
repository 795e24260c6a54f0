"""The name of one coded frame."""

from __future__ import annotations

from typing import NamedTuple

from icm.codec.bitstream.record import MAX_SEQUENCE
from icm.errors import NotFoundError
from icm.v1.frame_pb2 import FrameRef

_EPOCH_BITS = 63
"""More than that no database holds, and no edge is welcomed with."""


class FrameId(NamedTuple):
    """Names one coded frame for ever; as the message ``FrameRef``.

    Attributes:
        camera: the camera's name.
        epoch: the numbering that ``sequence`` belongs to.
        sequence: position within the epoch, from 1.
    """

    camera: str
    epoch: int
    sequence: int

    def to_message(self) -> FrameRef:
        return FrameRef(camera=self.camera, epoch=self.epoch, sequence=self.sequence)

    @staticmethod
    def from_message(frame: FrameRef) -> FrameId:
        """Returns the name that a message holds.

        Raises:
            NotFoundError: no frame can be called that.
        """
        if frame.epoch.bit_length() > _EPOCH_BITS:
            raise NotFoundError(f"there is no epoch {frame.epoch}")
        if frame.sequence > MAX_SEQUENCE:
            raise NotFoundError(f"there is no sequence {frame.sequence}; the highest is {MAX_SEQUENCE}")
        return FrameId(frame.camera, frame.epoch, frame.sequence)
