"""What became of a frame: what one model found in it, or why none will look at it."""

from __future__ import annotations

from dataclasses import dataclass

from cloud_service.detection.base import Detection
from icm.frame_id import FrameId


@dataclass(frozen=True)
class FrameEvent:
    """All that one model found in one frame.

    Attributes:
        key: the frame.
        capture_us: when it was captured, microseconds since 1970.
        model: the detector's.
        detections: may be empty.
    """

    key: FrameId
    capture_us: int
    model: str
    detections: tuple[Detection, ...]


@dataclass(frozen=True)
class FrameSkipped:
    """A frame that no detector will ever look at.

    Attributes:
        key: the frame.
        why: for a person.
    """

    key: FrameId
    why: str
