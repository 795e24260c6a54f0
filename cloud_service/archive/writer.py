"""Puts rendered videos into the archive, by camera, day and hour.

A video is put there once it is whole. What a crash interrupts is lost and rendered again from the records, which are
still there: the archive's progress moves only with whole segments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cloud_service.archive.fragments import Fragment, init_name, init_path
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
        path: of the MP4, relative to the archive's root; empty if it is gone.
        bytes: size of the MP4.
        thumbnail_path: of the JPEG, relative to the archive's root; empty if it is gone.
        thumbnail_bytes: size of the JPEG.
        disk_bytes: what the disk gave the MP4; see ``ArchiveStorage.put``.
        thumbnail_disk_bytes: what it gave the JPEG.
        init: name of the init segment that the fragments need; empty in a video from before there were any.
        fragments: where they lie in the MP4.
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
    disk_bytes: int
    thumbnail_disk_bytes: int
    init: str = ""
    fragments: tuple[Fragment, ...] = ()


class ArchiveWriter:
    """Writes whole videos, each with its thumbnail before it."""

    def __init__(self, storage: ArchiveStorage, check_owned: Callable[[], None] = lambda: None) -> None:
        """Makes the writer.

        Args:
            storage: where videos go.
            check_owned: asked before a video is put; raises a StorageError if the archive is another's.
        """
        self._storage, self._check_owned = storage, check_owned
        self._inits: set[str] = set()

    def write(self, video: RenderedVideo) -> VideoSegment:
        """Puts a video into the archive, in the place of an earlier one of the same segment and start.

        Raises:
            StorageFullError: there is no space left for it.
            StorageError: it cannot be written.
        """
        stem = segment_stem(video.camera, video.number, video.start_us)
        path, thumbnail_path, init = f"{stem}.mp4", f"{stem}.jpg", init_name(video.init)
        self._check_owned()
        if init not in self._inits:
            # Named by what it holds, so one that is there already is the same.
            self._storage.put(init_path(init), video.init)
            self._inits.add(init)
        thumbnail_disk_bytes = self._storage.put(thumbnail_path, video.thumbnail)
        disk_bytes = self._storage.put(path, video.mp4)
        return VideoSegment(
            camera=video.camera,
            number=video.number,
            start_us=video.start_us,
            duration_us=video.duration_us,
            frames=video.frames,
            path=path,
            bytes=len(video.mp4),
            thumbnail_path=thumbnail_path,
            thumbnail_bytes=len(video.thumbnail),
            disk_bytes=disk_bytes,
            thumbnail_disk_bytes=thumbnail_disk_bytes,
            init=init,
            fragments=video.fragments,
        )
