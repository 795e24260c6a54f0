"""Which frame is meant."""

from __future__ import annotations

from typing import NamedTuple

from icm.v1.frame_pb2 import FrameRef


class FrameKey(NamedTuple):
    """Names one coded frame for ever; see the message ``FrameRef``."""

    camera: str
    epoch: int
    sequence: int

    def to_message(self) -> FrameRef:
        return FrameRef(camera=self.camera, epoch=self.epoch, sequence=self.sequence)

    @staticmethod
    def from_message(frame: FrameRef) -> FrameKey:
        return FrameKey(frame.camera, frame.epoch, frame.sequence)
