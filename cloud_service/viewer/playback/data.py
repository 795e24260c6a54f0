"""What pages and players load of a camera's past: timelines, playlists, media, pictures and boxes."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import IO, TypeVar

from sqlalchemy import Connection, Engine
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cloud_service.archive.storage import ArchiveStorage
from cloud_service.viewer.accounts.notes import Notes
from cloud_service.viewer.playback import frames
from cloud_service.viewer.playback.answers import json_answer, read_database, text_answer
from cloud_service.viewer.playback.media import VIDEO_TYPE, find_video, init_answer, video_answer
from cloud_service.viewer.playback.playlist import TYPE as PLAYLIST_TYPE
from cloud_service.viewer.playback.playlist import playlist
from cloud_service.viewer.playback.rendering import PieceRenderer, RenderedPiece
from cloud_service.viewer.playback.sprites import Sprites
from cloud_service.viewer.playback.stored import boxes, overview, segments
from cloud_service.viewer.playback.stored.timeline import read_timeline
from cloud_service.viewer.playback.stored.windows import (
    DAY_US,
    HOUR_US,
    SECOND_US,
    Window,
    datetime_of,
    time_of,
    window_of,
)
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import stamp_text
from icm.client.cloud import AsyncCloudClient
from icm.errors import BusyError, ConfigError, NotFoundError
from icm.service.clock import Clock

_T = TypeVar("_T")
_PAGE_US = 2 * HOUR_US
"""The longest playlist for a page; a program with a token gets a day."""
_CLIP_US = HOUR_US
_CLIPS_AT_ONCE = 2
_PIECE_US = 60 * SECOND_US
_PIECE = re.compile(r"(\d{1,18})-(\d{1,18})", re.ASCII)
"""A piece that is rendered: its start and end, microseconds since 1970."""
_HOUR = re.compile(r"\d{1,8}", re.ASCII)
_CLOSED_US = HOUR_US
"""After which nothing is added to a stretch of time any more: what waited in a spool comes later, rarely."""
_KEPT_SHORT = "private, max-age=120"
_CHECKED = "private, no-cache"
_PART_BYTES = 256 << 10


class PlaybackData:
    """The addresses of data. For one event loop."""

    def __init__(
        self, *, database: Engine, storage: ArchiveStorage, cloud: AsyncCloudClient, notes: Notes, clock: Clock
    ) -> None:
        """Reads nothing yet.

        Args:
            database: the cloud's.
            storage: the archive.
            cloud: renders and decodes.
            notes: take down who looked at what.
            clock: tells what is long past.
        """
        self._database, self._storage, self._cloud, self._notes = database, storage, cloud, notes
        self._clock = clock
        self._renderer = PieceRenderer(cloud)
        self._sprites = Sprites(database, storage)
        self._clips = asyncio.Semaphore(_CLIPS_AT_ONCE)

    def pages(self) -> list[Page]:
        """For the routes."""
        of = "/cameras/{camera}"
        return [
            Page(f"{of}/timeline.json", self._timeline, Right.VIEW),
            Page(f"{of}/holds.json", self._holds, Right.VIEW),
            Page(f"{of}/frames.json", self._frames, Right.VIEW),
            Page(f"{of}/sprites/{{hour}}.jpg", self._sprite, Right.VIEW),
            Page(f"{of}/frame.jpg", self._frame, Right.VIEW, feed=True),
            Page(f"{of}/boxes.json", self._boxes, Right.VIEW, feed=True),
            Page(f"{of}/boxes.vtt", self._boxes_vtt, Right.VIEW, feed=True),
            Page(f"{of}/hls.m3u8", self._playlist, Right.VIEW, feed=True),
            Page(f"{of}/init/{{name}}.mp4", self._init, Right.VIEW, feed=True),
            Page(f"{of}/video/{{name}}.mp4", self._video, Right.VIEW, feed=True),
            Page(f"{of}/rendered/{{piece}}/init.mp4", self._rendered_init, Right.VIEW, feed=True),
            Page(f"{of}/rendered/{{piece}}/piece.m4s", self._rendered_piece, Right.VIEW, feed=True),
            Page(f"{of}/clip.mp4", self._clip, Right.VIEW, feed=True),
        ]

    async def _timeline(self, request: Request) -> Response:
        window = window_of(request.query_params, overview.LONGEST_WINDOW_US)
        answer = await self._read(lambda connection: read_timeline(connection, _camera(request), window))
        return json_answer(request, answer, self._keeping(window))

    async def _holds(self, request: Request) -> Response:
        window = window_of(request.query_params, overview.LONGEST_WINDOW_US)
        camera = _camera(request)
        start, end = datetime_of(window.from_us), datetime_of(window.to_us)
        held = [
            [of.start.timestamp() * 1000, of.end.timestamp() * 1000, of.reason]
            for of in await self._cloud.holds()
            if (not of.cameras or camera in of.cameras) and of.start < end and of.end > start
        ]
        return json_answer(request, {"holds": held}, _CHECKED)

    async def _frames(self, request: Request) -> Response:
        window = window_of(request.query_params, frames.LONGEST_WINDOW_US)
        answer = await frames.frames_in(self._cloud, _camera(request), window)
        return json_answer(request, answer, self._keeping(window))

    async def _frame(self, request: Request) -> Response:
        at_us = time_of(request.query_params, "t")
        if at_us is None:
            raise ConfigError("give a time `t`, such as t=2026-09-21T14:13:20Z")
        await self._looked(request, at_us)
        found = await frames.frame_shown_at(self._cloud, _camera(request), at_us)
        headers = {
            "cache-control": _KEPT_SHORT if at_us < self._clock.now_us() - _CLOSED_US else _CHECKED,
            "x-frame-captured": found.captured.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "x-frame-epoch": str(found.frame.epoch),
            "x-frame-sequence": str(found.frame.sequence),
        }
        return Response(await self._cloud.picture(found.frame), headers=headers, media_type="image/jpeg")

    async def _sprite(self, request: Request) -> Response:
        said, now_us = _HOUR.fullmatch(request.path_params["hour"]), self._clock.now_us()
        hour = int(said[0]) if said else None
        if hour is None or hour * HOUR_US > now_us + DAY_US:
            raise NotFoundError("there is no such hour: they are counted since 1970")
        await self._looked(request, hour * HOUR_US)
        done = (hour + 1) * HOUR_US < now_us - _CLOSED_US
        content = await self._sprites.sprite(_camera(request), hour, done)
        return Response(content, headers={"cache-control": _KEPT_SHORT if done else _CHECKED}, media_type="image/jpeg")

    async def _boxes(self, request: Request) -> Response:
        window = window_of(request.query_params, boxes.LONGEST_WINDOW_US)
        answer = await self._read(lambda connection: boxes.read_boxes(connection, _camera(request), window))
        return json_answer(request, answer, self._keeping(window))

    async def _boxes_vtt(self, request: Request) -> Response:
        window = window_of(request.query_params, boxes.LONGEST_WINDOW_US)
        text = await self._read(lambda connection: boxes.boxes_vtt(connection, _camera(request), window))
        return text_answer(request, text, "text/vtt; charset=utf-8", self._keeping(window))

    async def _playlist(self, request: Request) -> Response:
        most_us = segments.LONGEST_WINDOW_US if request.state.visitor.token else _PAGE_US
        window = window_of(request.query_params, most_us)
        await self._looked(request, window.from_us)
        found = await self._read(
            lambda connection: segments.read_segments(connection, _camera(request), window, fragments=True)
        )
        text = playlist(found, window, request.query_params.get("token", ""))
        return text_answer(request, text, PLAYLIST_TYPE, _CHECKED)

    async def _init(self, request: Request) -> Response:
        return await init_answer(self._storage, request.path_params["name"])

    async def _video(self, request: Request) -> Response:
        camera, name = _camera(request), request.path_params["name"]
        video = await self._read(lambda connection: find_video(connection, camera, name))
        return await video_answer(request, self._storage, video)

    async def _rendered_init(self, request: Request) -> Response:
        piece = await self._piece(request)
        return Response(piece.init, media_type=VIDEO_TYPE, headers={"cache-control": _KEPT_SHORT})

    async def _rendered_piece(self, request: Request) -> Response:
        piece = await self._piece(request)
        return Response(piece.fragments, media_type=VIDEO_TYPE, headers={"cache-control": _KEPT_SHORT})

    async def _piece(self, request: Request) -> RenderedPiece:
        said = _PIECE.fullmatch(request.path_params["piece"])
        window = Window(int(said[1]), int(said[2])) if said else Window(0, 0)
        if not 0 < window.length_us <= _PIECE_US or window.to_us > self._clock.now_us() + DAY_US:
            raise NotFoundError("there is no such piece of video: take it from a playlist")
        return await self._renderer.piece(_camera(request), window)

    async def _clip(self, request: Request) -> Response:
        window = window_of(request.query_params, _CLIP_US)
        if self._clips.locked():
            raise BusyError(f"{_CLIPS_AT_ONCE} clips are being made: come again soon", 5.0)
        camera = _camera(request)
        async with self._clips:
            # Held by the answer alone; what is written is gone once that ended, however it did.
            file = tempfile.TemporaryFile(prefix="icm-clip-")  # noqa: SIM115 - the answer closes it
            try:
                await self._cloud.clip(camera, datetime_of(window.from_us), datetime_of(window.to_us), file)
            except BaseException:
                file.close()
                raise
        about = f"{camera} {stamp_text(window.from_us)} {stamp_text(window.to_us)}"
        await self._notes.did(request.state.visitor, "clip", about)
        name = f"{camera}-{datetime_of(window.from_us):%Y%m%dT%H%M%SZ}.mp4"
        headers = {
            "content-length": str(file.tell()),
            "content-disposition": f'attachment; filename="{name}"',
            "accept-ranges": "none",
        }
        return StreamingResponse(_parts(file), headers=headers, media_type=VIDEO_TYPE)

    async def _looked(self, request: Request, at_us: int) -> None:
        """Notes who looked at which camera, and at which hour."""
        hour = f"{datetime_of(at_us):%Y-%m-%dT%H}"
        await self._notes.looked(request.state.visitor, "play", f"{_camera(request)} {hour}")

    def _keeping(self, window: Window) -> str:
        """For how long a browser may keep what is said about a window."""
        return _KEPT_SHORT if window.to_us < self._clock.now_us() - _CLOSED_US else _CHECKED

    async def _read(self, read: Callable[[Connection], _T]) -> _T:
        return await read_database(self._database, read)


def _camera(request: Request) -> str:
    return str(request.path_params["camera"])


async def _parts(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        file.seek(0)
        while part := await asyncio.to_thread(file.read, _PART_BYTES):
            yield part
