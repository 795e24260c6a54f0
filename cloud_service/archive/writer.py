"""Puts rendered videos into the archive, by camera, day and hour.

A video is put there once it is whole. What a crash interrupts is lost and rendered again from the records, which are
still there: the archive's progress moves only with whole segments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cloud_service.archive.rendering import RenderedVideo
from cloud_service.archive.storage import ArchiveStorage
from cloud_service.store.segment import segment_stem


@dataclass(frozen=True)
class VideoSegment:
    """An MP4 in the archive.

    Attributes:
        camera: of the record segment that it shows.
        number: of the record segment that it shows.
        start_us: its first frame's capture time, microseconds since 1970.
        duration_us: from its first frame to the end of its last, in microseconds.
        frames: how many there are.
        path: of the MP4, relative to the archive's root.
        bytes: size of the MP4.
        thumbnail_path: of the JPEG, relative to the archive's root.
        thumbnail_bytes: size of the JPEG.
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


class ArchiveWriter:
    """Writes whole videos, each with its thumbnail before it."""

    def __init__(self, storage: ArchiveStorage, check_owned: Callable[[], None] = lambda: None) -> None:
        """Makes the writer.

        Args:
            storage: where videos go.
            check_owned: asked before a video is put; raises a StorageError if the archive is another's.
        """
        self._storage, self._check_owned = storage, check_owned

    def write(self, video: RenderedVideo) -> VideoSegment:
        """Puts a video into the archive, in the place of an earlier one of the same segment and start.

        Raises:
            StorageFullError: there is no space left for it.
            StorageError: it cannot be written.
        """
        stem = segment_stem(video.camera, video.number, video.start_us)
        written = VideoSegment(
            camera=video.camera,
            number=video.number,
            start_us=video.start_us,
            duration_us=video.duration_us,
            frames=video.frames,
            path=f"{stem}.mp4",
            bytes=len(video.mp4),
            thumbnail_path=f"{stem}.jpg",
            thumbnail_bytes=len(video.thumbnail),
        )
        self._check_owned()
        self._storage.put(written.thumbnail_path, video.thumbnail)
        self._storage.put(written.path, video.mp4)
        return written
