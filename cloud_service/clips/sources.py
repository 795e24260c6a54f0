"""Where the frames of a clip come from: which of the archive's videos can be cut, and what is rendered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from sqlalchemy import Engine

from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.archive.fragments import init_name, init_path
from cloud_service.archive.storage import ArchiveStorage
from cloud_service.archive.video import VideoEncoder
from cloud_service.archive.writer import VideoSegment
from cloud_service.clips.request import ClipDecoder, ClipRequest, utc_text
from cloud_service.proof.tombstones import Deleted, deleted_between
from cloud_service.store import RecordStore, Segment
from cloud_service.store.index.lookup import index_answers
from icm.codec.bitstream.record import StreamHeader
from icm.errors import FrameDeletedError, NotFoundError, RecordError, StorageError


@dataclass(frozen=True)
class Source:
    """Of one segment.

    Attributes:
        segment: the records; None where only the video is left.
        video: the archive's, if it can be cut.
        deleted: what became of the records, where neither is left.
    """

    segment: Segment | None
    video: VideoSegment | None
    deleted: Deleted | None = None


@dataclass(frozen=True)
class Sources:
    """Of one clip.

    Attributes:
        of: in the order of their times.
        size: width and height of the clip's pictures; None for that of what is read first.
    """

    of: tuple[Source, ...]
    size: tuple[int, int] | None = None

    @property
    def renders(self) -> bool:
        """Whether anything has to be rendered."""
        return any(source.video is None and source.deleted is None for source in self.of)


class SourceFinder:
    """Finds the sources of clips. Thread-safe."""

    def __init__(
        self, store: RecordStore, catalogue: VideoCatalogue, storage: ArchiveStorage, database: Engine
    ) -> None:
        self._store, self._catalogue, self._storage, self._database = store, catalogue, storage, database

    def find(self, request: ClipRequest, *, videos: bool = True) -> Sources:
        """The sources of a clip.

        Args:
            request: the clip.
            videos: whether to use the archive's videos.

        Raises:
            NotFoundError: there is no such camera, or nothing of it in that time; a FrameDeletedError if there was.
            StorageError: the disk or the database does not answer.
        """
        segments = {
            of.number: of for of in self._store.captured_between(request.camera, request.from_us, request.to_us)
        }
        # A video of pictures that are drawn upon, or that another decoder made, is of no use.
        videos = videos and request.decoder is ClipDecoder.FINETUNED and not request.boxes
        found = self._catalogue.list(request.camera, request.from_us, request.to_us) if videos else []
        whole = {
            video.number: video
            for video in found
            if video.fragments and (video.number not in segments or segments[video.number].records == video.frames)
        }
        times = {number: video.start_us for number, video in whole.items()}
        times |= {number: segment.first_capture_us for number, segment in segments.items()}
        with index_answers(), self._database.connect() as connection:
            found_deleted = deleted_between(connection, request.camera, request.from_us, request.to_us)
        deleted = {each.number: each for each in found_deleted if each.number not in times}
        if not times:
            self._refuse(request, list(deleted.values()))
        times |= {number: each.first_us for number, each in deleted.items()}
        order = sorted(times, key=lambda number: (times[number], number))
        inits = {video.init for video in whole.values()}
        if len(whole) + len(deleted) == len(order) and len(inits) == 1:
            return Sources(tuple(Source(segments.get(n), whole.get(n), deleted.get(n)) for n in order))
        size = self._size(list(segments.values()))
        # Of the encoder and size that what is rendered will have.
        init = _init_of(*size) if size else next(iter(inits), "")
        sources = []
        for number in order:
            video = whole.get(number)
            same = video is not None and video.init == init
            if number in deleted:
                sources.append(Source(None, None, deleted[number]))
            elif same or number in segments:
                sources.append(Source(segments.get(number), video if same else None))
        return Sources(tuple(sources), size)

    def read(self, video: VideoSegment, request: ClipRequest) -> bytes:
        """The fragments of a video that hold frames of the clip, behind their init segment.

        Raises:
            StorageError: they cannot be read.
        """
        wanted = [
            of
            for of in video.fragments
            if of.start_us < request.to_us and of.start_us + of.duration_us > request.from_us
        ]
        init = self._storage.get(init_path(video.init))
        if init is None or init_name(init) != video.init:
            raise StorageError(f"the init segment {init_path(video.init)} of the archive is gone or damaged")
        if not wanted:
            return b""
        start, end = wanted[0].offset, wanted[-1].offset + wanted[-1].length
        return init + self._storage.read(video.path, start, end - start)

    def _size(self, segments: list[Segment]) -> tuple[int, int] | None:
        """Of the largest picture in segments; None if none of them can be read."""
        headers = [header for segment in segments if (header := self._header(segment)) is not None]
        sizes = [(header.width, header.height) for header in headers]
        return max(sizes, key=lambda size: size[0] * size[1], default=None)

    def _header(self, segment: Segment) -> StreamHeader | None:
        try:
            return self._store.header(segment)
        except (NotFoundError, RecordError, StorageError):
            return None

    def _refuse(self, request: ClipRequest, deleted: list[Deleted]) -> None:
        between = f"between {utc_text(request.from_us)} and {utc_text(request.to_us)}"
        if deleted:
            frames = sum(each.records for each in deleted)
            raise FrameDeletedError(
                f"nothing is left of camera {request.camera!r} {between}: {frames} frames were deleted, the first were"
                f" {deleted[0].why}"
            )
        for camera in self._store.cameras():
            if camera.camera == request.camera:
                raise NotFoundError(
                    f"nothing is stored of camera {request.camera!r} {between}: what is stored of it goes from"
                    f" {utc_text(camera.first_capture_us)} to {utc_text(camera.last_capture_us)}"
                )
        raise NotFoundError(f"there is no camera {request.camera[:80]!r}; ListCameras names them")


@lru_cache(maxsize=64)
def _init_of(width: int, height: int) -> str:
    """The name of the init segment that this encoder gives pictures of a size."""
    video = VideoEncoder(width, height)
    video.add(np.zeros((height, width, 3), np.uint8), 0)
    return init_name(video.finish().init)
