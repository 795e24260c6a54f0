"""What clients are given: plain values in place of messages of the contracts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from icm.errors import ConfigError
from icm.frame_id import FrameId
from icm.v1 import archive_pb2, camera_pb2, frame_pb2

if TYPE_CHECKING:
    import numpy as np
    from google.protobuf.timestamp_pb2 import Timestamp
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Box:
    """One object that a detector found.

    Attributes:
        class_name: the class, by the model's own name for it, such as "person".
        score: the detector's confidence, 0 to 1.
        left: left edge, in pixels from the picture's left.
        top: top edge, in pixels from the picture's top.
        right: right edge, in pixels from the picture's left.
        bottom: bottom edge, in pixels from the picture's top.
    """

    class_name: str
    score: float
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Detections:
    """What one detector found in one frame.

    Attributes:
        frame: which frame.
        captured: when it was captured, UTC.
        model: the detector, such as "yolo26n".
        boxes: what it found; empty where that is nothing.
    """

    frame: FrameId
    captured: datetime
    model: str
    boxes: tuple[Box, ...]

    @staticmethod
    def of(message: frame_pb2.FrameDetections) -> Detections:
        boxes = (Box(d.class_name, d.score, d.left, d.top, d.right, d.bottom) for d in message.detections)
        return Detections(
            FrameId.from_message(message.frame), time_of(message.capture_time), message.model, tuple(boxes)
        )


@dataclass(frozen=True)
class Submitted:
    """What became of a picture that was handed over.

    Attributes:
        frame: the coded frame.
        bytes: size of its record.
        bits_per_pixel: the same in bits, per pixel of the picture as it was handed over.
        detections: what the cloud found, boxes in pixels of the picture as it was handed over; None where nobody
            waited for it, or it was not known in time.
    """

    frame: FrameId
    bytes: int
    bits_per_pixel: float
    detections: Detections | None

    @staticmethod
    def of(message: camera_pb2.SubmitFrameResponse) -> Submitted:
        found = Detections.of(message.detections) if message.HasField("detections") else None
        return Submitted(FrameId.from_message(message.frame), message.bytes, message.bits_per_pixel, found)


@dataclass(frozen=True)
class Camera:
    """A camera as the archive has it.

    Attributes:
        name: its name.
        records: how many are stored.
        bytes: their size.
        first: capture time of the oldest, UTC.
        last: capture time of the newest, UTC.
    """

    name: str
    records: int
    bytes: int
    first: datetime
    last: datetime

    @staticmethod
    def of(message: archive_pb2.Camera) -> Camera:
        first, last = time_of(message.first_capture), time_of(message.last_capture)
        return Camera(message.name, message.records, message.bytes, first, last)


@dataclass(frozen=True)
class Segment:
    """A stretch of video that any player plays.

    Attributes:
        start: capture time of its first frame, UTC.
        duration: from its first frame to the end of its last.
        frames: how many it has.
        bytes: size of the fragmented MP4.
        path: where that lies, relative to the archive's root.
        thumbnail_path: where its thumbnail lies, a JPEG, relative to the archive's root.
    """

    start: datetime
    duration: timedelta
    frames: int
    bytes: int
    path: str
    thumbnail_path: str

    @property
    def end(self) -> datetime:
        """When its last frame ends, UTC."""
        return self.start + self.duration

    @staticmethod
    def of(message: archive_pb2.Segment) -> Segment:
        duration = timedelta(microseconds=message.duration.ToMicroseconds())
        start, size = time_of(message.start), message.bytes
        return Segment(start, duration, message.frames, size, message.path, message.thumbnail_path)


@dataclass(frozen=True)
class Frame:
    """A stored frame.

    Attributes:
        image: the decoder's very pixels, uint8[H, W, 3], RGB.
        captured: when it was captured, UTC.
        still: whether it is the one picture that is left of a stretch whose records were deleted.
    """

    image: NDArray[np.uint8]
    captured: datetime
    still: bool = False


def time_of(message: Timestamp) -> datetime:
    """A time of the contracts in UTC, to the microsecond."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=message.ToMicroseconds())


def utc(time: datetime) -> datetime:
    """A time in UTC.

    Raises:
        ConfigError: it has no time zone.
    """
    if time.tzinfo is None:
        raise ConfigError(f"the time {time} has no time zone: give one, such as datetime.now(datetime.UTC)")
    return time.astimezone(UTC)
