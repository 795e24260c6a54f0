"""Renders each record segment as one MP4 and a thumbnail.

A video is put into the archive once it is whole. What a crash interrupts is lost and rendered again from the records,
which are still there: the archive's progress moves only with whole segments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cloud_service.archive.storage import ArchiveStorage
from cloud_service.archive.video import VideoEncoder
from cloud_service.store import Segment
from cloud_service.store.segment import segment_stem

_THUMBNAIL_QUALITY = 80


@dataclass(frozen=True)
class VideoSegment:
    """An MP4 in the archive.

    Attributes:
        camera, number: the record segment it shows.
        start_us: its first frame's capture time, microseconds since 1970.
        duration_us: from its first frame to the end of its last, in microseconds.
        frames: how many there are.
        path, bytes: the MP4, relative to the archive's root, and its size.
        thumbnail_path, thumbnail_bytes: the same of the JPEG.
    """

    camera: str
    number: int
    start_us: int
    duration_us: int
    frames: int
    path: str
    bytes: int
    thumbnail_path: str
    thumbnail_bytes: int


@dataclass
class _Rendering:
    number: int
    start_us: int
    video: VideoEncoder
    thumbnail: bytes


class ArchiveWriter:
    """One video under way per camera. Not thread-safe."""

    def __init__(
        self, storage: ArchiveStorage, thumbnail_width: int, check_owned: Callable[[], None] = lambda: None
    ) -> None:
        """Args: check_owned, asked before a video is put; raises a StorageError if the archive is another's."""
        self._storage, self._check_owned = storage, check_owned
        self._thumbnail_width = thumbnail_width
        self._open: dict[str, _Rendering] = {}

    def add(self, segment: Segment, image: NDArray[np.uint8], capture_us: int) -> None:
        """Adds a picture uint8[H, W, 3] RGB to its segment's video.

        Raises:
            StorageError: the video cannot be encoded.
        """
        rendering = self._open.get(segment.camera)
        if rendering is None or rendering.number != segment.number:
            height, width = image.shape[:2]
            rendering = _Rendering(
                segment.number, capture_us, VideoEncoder(width, height, capture_us), self._thumbnail(image)
            )
            self._open[segment.camera] = rendering
        rendering.video.add(image, capture_us)

    def finish(self, camera: str) -> VideoSegment | None:
        """Puts the camera's video into the archive; None if it has no frame.

        Raises:
            StorageFullError: there is no space left for it; the video is given up.
            StorageError: it cannot be written; the same holds.
        """
        rendering = self._open.pop(camera, None)
        if rendering is None:
            return None
        stem = segment_stem(camera, rendering.number, rendering.start_us)
        data = rendering.video.finish()
        segment = VideoSegment(
            camera,
            rendering.number,
            rendering.start_us,
            rendering.video.duration_us,
            rendering.video.frames,
            f"{stem}.mp4",
            len(data),
            f"{stem}.jpg",
            len(rendering.thumbnail),
        )
        self._check_owned()
        self._storage.put(segment.thumbnail_path, rendering.thumbnail)
        self._storage.put(segment.path, data)
        return segment

    def discard(self, camera: str) -> None:
        """Forgets the camera's video under way."""
        self._open.pop(camera, None)

    def under_way(self) -> list[str]:
        """Cameras whose videos are not finished."""
        return list(self._open)

    def _thumbnail(self, image: NDArray[np.uint8]) -> bytes:
        picture = Image.fromarray(image)
        picture.thumbnail((self._thumbnail_width, self._thumbnail_width))
        buffer = BytesIO()
        picture.save(buffer, "JPEG", quality=_THUMBNAIL_QUALITY)
        return buffer.getvalue()
