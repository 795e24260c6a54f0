"""Files of the archive over HTTP: an init segment, and one range of a video."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import Connection, select
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cloud_service.archive.fragments import init_name, init_path
from cloud_service.archive.storage import ArchiveStorage
from cloud_service.database.tables import VideoSegmentRow
from icm.errors import ConfigError, NotFoundError

VIDEO_TYPE = "video/mp4"
_INIT = re.compile(r"[0-9a-f]{16}")
_VIDEO = re.compile(r"(\d{1,18})-(\d{1,12})", re.ASCII)
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_PART_BYTES = 1 << 20
_KEPT = "private, max-age=3600"
"""A video may be deleted by then, and what was fetched of it may be shown for that long."""


@dataclass(frozen=True)
class StoredVideo:
    """An MP4 of the archive.

    Attributes:
        number: of its segment.
        path: relative to the archive's root.
        bytes: its size.
    """

    number: int
    path: str
    bytes: int


def find_video(connection: Connection, camera: str, name: str) -> StoredVideo:
    """The video that a playlist names.

    Args:
        connection: to the database.
        camera: whose it is.
        name: number and size.

    Raises:
        NotFoundError: it is gone, was rendered anew, or never was.
    """
    said = _VIDEO.fullmatch(name)
    if said is not None:
        number, size = int(said[1]), int(said[2])
        query = select(VideoSegmentRow.path, VideoSegmentRow.bytes).where(
            VideoSegmentRow.camera == camera, VideoSegmentRow.number == number
        )
        row = connection.execute(query).first()
        if row is not None and row.path and row.bytes == size:
            return StoredVideo(number, row.path, row.bytes)
    raise NotFoundError("this video is not in the archive any more: load the playlist anew")


async def init_answer(storage: ArchiveStorage, name: str) -> Response:
    """An init segment.

    Raises:
        NotFoundError: there is none of this name.
        StorageError: the archive cannot be read.
    """
    content = await asyncio.to_thread(storage.get, init_path(name)) if _INIT.fullmatch(name) else None
    # Another's file under this name would be told to browsers as video.
    if content is None or init_name(content) != name:
        raise NotFoundError("there is no such init segment in the archive: load the playlist anew")
    return Response(content, media_type=VIDEO_TYPE, headers={"cache-control": "private, max-age=31536000, immutable"})


async def video_answer(request: Request, storage: ArchiveStorage, video: StoredVideo) -> Response:
    """A video, or the one range of it that is asked for.

    Raises:
        ConfigError: the range is none.
        StorageError: the archive cannot be read, or the file was deleted just now.
    """
    headers = {"accept-ranges": "bytes", "cache-control": _KEPT, "etag": f'"{video.number}-{video.bytes}"'}
    asked = request.headers.get("range")
    start, end = 0, video.bytes
    if asked is not None:
        found = byte_range(asked, video.bytes)
        if found is None:
            return Response(status_code=416, headers={**headers, "content-range": f"bytes */{video.bytes}"})
        start, end = found
        headers["content-range"] = f"bytes {start}-{end - 1}/{video.bytes}"
    headers["content-length"] = str(end - start)
    status = 200 if asked is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=VIDEO_TYPE)
    # The first part is read before the answer begins, as only then an error can be told.
    first = await _part(storage, video, start, end)

    async def parts() -> AsyncIterator[bytes]:
        yield first
        for offset in range(start + len(first), end, _PART_BYTES):
            yield await _part(storage, video, offset, end)

    return StreamingResponse(parts(), status, headers, media_type=VIDEO_TYPE)


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """The range that a header names, as offsets of its first byte and of the one behind its last.

    Args:
        text: of the header.
        size: of the file, in bytes.

    Returns:
        None: it has no byte of the file.

    Raises:
        ConfigError: it is no range, or several.
    """
    said = _RANGE.fullmatch(text.strip())
    if said is None or not (said[1] or said[2]):
        raise ConfigError(f"the range {text[:40]!r} is none that is answered: ask for one, such as bytes=0-1023")
    if not said[1]:
        length = int(said[2])
        return (max(0, size - length), size) if length and size else None
    start, end = int(said[1]), int(said[2]) + 1 if said[2] else size
    return (start, min(end, size)) if start < min(end, size) else None


async def _part(storage: ArchiveStorage, video: StoredVideo, start: int, end: int) -> bytes:
    length = min(_PART_BYTES, end - start)
    return await asyncio.to_thread(storage.read, video.path, start, length) if length else b""
