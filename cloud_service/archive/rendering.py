"""Renders each record segment as one MP4 and a thumbnail, held in memory until whole."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cloud_service.archive.fragments import Fragment
from cloud_service.archive.video import VideoEncoder

_THUMBNAIL_QUALITY = 80


@dataclass(frozen=True)
class RenderedVideo:
    """A video that lies nowhere yet.

    Attributes:
        camera: of the record segment that it shows.
        number: of the record segment that it shows.
        start_us: its first frame's capture time, microseconds since 1970.
        duration_us: from its first frame to the end of its last, in microseconds.
        frames: how many there are.
        mp4: the whole file.
        init: what its fragments need before them.
        fragments: where they lie in the file.
        thumbnail: of the first frame, a JPEG file.
    """

    camera: str
    number: int
    start_us: int
    duration_us: int
    frames: int
    mp4: bytes
    init: bytes
    fragments: tuple[Fragment, ...]
    thumbnail: bytes


@dataclass
class _Rendering:
    number: int
    start_us: int
    video: VideoEncoder
    thumbnail: bytes


class SegmentRenderer:
    """One video under way per camera. Not thread-safe."""

    def __init__(self, thumbnail_width: int) -> None:
        self._thumbnail_width = thumbnail_width
        self._open: dict[str, _Rendering] = {}

    def add(self, camera: str, number: int, image: NDArray[np.uint8], capture_us: int) -> None:
        """Adds a picture uint8[H, W, 3] RGB to the video of a record segment, after those before it.

        Raises:
            StorageError: the video cannot be encoded.
        """
        rendering = self._open.get(camera)
        if rendering is None or rendering.number != number:
            height, width = image.shape[:2]
            rendering = _Rendering(number, capture_us, VideoEncoder(width, height), self._thumbnail(image))
            self._open[camera] = rendering
        rendering.video.add(image, capture_us)

    def finish(self, camera: str) -> RenderedVideo | None:
        """The camera's video under way as a whole file; None if it has no frame."""
        rendering = self._open.pop(camera, None)
        if rendering is None:
            return None
        mp4, init, fragments = rendering.video.finish()
        return RenderedVideo(
            camera=camera,
            number=rendering.number,
            start_us=rendering.start_us,
            duration_us=rendering.video.duration_us,
            frames=rendering.video.frames,
            mp4=mp4,
            init=init,
            fragments=fragments,
            thumbnail=rendering.thumbnail,
        )

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
