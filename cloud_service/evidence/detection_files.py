"""What detectors found, as files of an export: all of it as JSON and in COCO's format, and subtitles for each clip."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import IO, Any, Self

from cloud_service.events.store import EventStore, FrameEvent
from cloud_service.store.segment import Segment
from icm.evidence.times import time_text

_MOST_EVENTS = 100_000
"""Of one segment, which has 3000 records at most: some thirty models."""
_IN_MEMORY = 1 << 20
_READ_BYTES = 1 << 18
_LONGEST_CUE_US = 1_000_000


def events_of(events: EventStore, segment: Segment) -> list[FrameEvent]:
    """What was found in a segment's frames, in the order of their capture.

    Raises:
        SQLAlchemyError: the database does not answer.
    """
    found = events.search(
        segment.camera, None, segment.first_capture_us, segment.last_capture_us + 1, limit=_MOST_EVENTS
    )
    own = [event for event in found if event.key.epoch == segment.epoch and event.key.sequence in segment.sequences]
    return own[::-1]


def subtitles(events: Sequence[FrameEvent], start_us: int, duration_us: int) -> bytes:
    """What was found during a clip, as WebVTT.

    Args:
        events: in the order of their capture.
        start_us: of the clip, microseconds since 1970.
        duration_us: of the clip, in microseconds.
    """
    lines = ["WEBVTT", ""]
    for event, following in zip(events, [*events[1:], None], strict=True):
        begin = event.capture_us - start_us
        end = following.capture_us - start_us if following is not None else duration_us
        end = min(end, begin + _LONGEST_CUE_US, duration_us)
        if event.detections and 0 <= begin < end:
            text = ", ".join(f"{found.class_name} {found.score:.2f}" for found in event.detections)
            for letter, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\n", " ")):
                text = text.replace(letter, escaped)
            lines += [f"{_cue_time(begin)} --> {_cue_time(end)}", text, ""]
    return "\n".join(lines).encode()


class DetectionFiles:
    """A camera's detections on their way into files, kept beside until they are whole. A context manager.

    Attributes:
        frames: that a detector looked at, so far.
        boxes: found in them.
        models: that found them, or nothing.
    """

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self.frames, self.boxes, self._pictures = 0, 0, 0
        self.models: set[str] = set()
        self._categories: dict[str, int] = {}
        self._found, self._images, self._annotations = _spooled(), _spooled(), _spooled()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._found, self._images, self._annotations):
            file.close()

    def add(self, event: FrameEvent, width: int, height: int) -> None:
        """Takes in what was found in a frame of this size."""
        self.frames += 1
        self.models.add(event.model)
        if not event.detections:
            return
        captured = time_text(event.capture_us)
        frame = {
            "epoch": str(event.key.epoch),
            "sequence": event.key.sequence,
            "captured": captured,
            "model": event.model,
            "width": width,
            "height": height,
            "detections": [
                {"class": of.class_name, "score": of.score, "box": [of.left, of.top, of.right, of.bottom]}
                for of in event.detections
            ],
        }
        self._pictures += 1
        image = {
            "id": self._pictures,
            "file_name": f"{self._camera}/{event.key.epoch}/{event.key.sequence}",
            "width": width,
            "height": height,
            "date_captured": captured,
        }
        _append(self._found, frame, self._pictures == 1)
        _append(self._images, image, self._pictures == 1)
        for of in event.detections:
            self.boxes += 1
            annotation = {
                "id": self.boxes,
                "image_id": self._pictures,
                "category_id": self._categories.setdefault(of.class_name, len(self._categories) + 1),
                "bbox": [of.left, of.top, of.right - of.left, of.bottom - of.top],
                "area": (of.right - of.left) * (of.bottom - of.top),
                "iscrowd": 0,
                "score": of.score,
            }
            _append(self._annotations, annotation, self.boxes == 1)

    def as_json(self) -> Iterator[bytes]:
        """All of it: frames without detections are counted and not listed, boxes are left, top, right, bottom."""
        start = {"format": "icm-detections/1", "camera": self._camera, "frames_looked_at": self.frames}
        yield f'{json.dumps(start)[:-1]}, "frames": [\n'.encode()
        yield from _content(self._found)
        yield b"\n]}\n"

    def as_coco(self) -> Iterator[bytes]:
        """The same in COCO's format."""
        categories = [{"id": number, "name": name} for name, number in self._categories.items()]
        yield f'{{"info": {{"description": "camera {self._camera}"}}, "images": [\n'.encode()
        yield from _content(self._images)
        yield f'\n], "categories": {json.dumps(categories)}, "annotations": [\n'.encode()
        yield from _content(self._annotations)
        yield b"\n]}\n"


def _spooled() -> IO[str]:
    return tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8")


def _append(file: IO[str], value: dict[str, Any], first: bool) -> None:
    file.write(json.dumps(value) if first else f",\n{json.dumps(value)}")


def _content(file: IO[str]) -> Iterator[bytes]:
    file.seek(0)
    while text := file.read(_READ_BYTES):
        yield text.encode()


def _cue_time(microseconds: int) -> str:
    seconds, rest = divmod(microseconds // 1000, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}"
