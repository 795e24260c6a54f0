"""Video of what has none in the archive: the cloud renders it from records, piece by piece."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO

import av

from cloud_service.archive.fragments import TICKS, to_ticks
from cloud_service.archive.mp4_layout import split
from cloud_service.viewer.playback.stored.windows import Window, datetime_of
from icm.client.cloud import AsyncCloudClient
from icm.errors import BusyError, StorageError

_MUXER = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof+frag_discont+skip_trailer",
    # Else times would be counted from the first frame.
    "avoid_negative_ts": "disabled",
}
_TIME_BASE = Fraction(1, TICKS)
_MOST_BYTES = 32 << 20
_MOST_WAITING = 16
"""Pieces that are waited for at once; the cloud renders one after the other."""
_RETRY_SECONDS = 5.0


@dataclass(frozen=True)
class RenderedPiece:
    """A piece as players of HLS take it.

    Attributes:
        init: its init segment.
        fragments: behind that; their times are those of the capture.
    """

    init: bytes
    fragments: bytes


class PieceRenderer:
    """Has the cloud render pieces, and keeps the last ones: a player asks twice for each. For one event loop."""

    def __init__(self, cloud: AsyncCloudClient) -> None:
        """Renders nothing yet."""
        self._cloud = cloud
        self._kept: OrderedDict[tuple[str, Window], RenderedPiece] = OrderedDict()
        self._bytes = 0
        self._making: dict[tuple[str, Window], asyncio.Task[RenderedPiece]] = {}

    async def piece(self, camera: str, window: Window) -> RenderedPiece:
        """A piece of a camera's past. Who asks while it is made waits for the same one.

        Raises:
            BusyError: too many are waited for.
            IcmError: the cloud refused; it says why.
        """
        key = camera, window
        if (piece := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return piece
        task = self._making.get(key)
        if task is None:
            if len(self._making) >= _MOST_WAITING:
                raise BusyError("too much video is being rendered: come again soon", _RETRY_SECONDS)
            task = self._making[key] = asyncio.create_task(self._make(camera, window))
            task.add_done_callback(lambda done: self._made(key, done))
        # Who goes away does not take it from the others.
        return await asyncio.shield(task)

    async def _make(self, camera: str, window: Window) -> RenderedPiece:
        file = BytesIO()
        clip = await self._cloud.clip(camera, datetime_of(window.from_us), datetime_of(window.to_us), file)
        start_us = window.from_us + (clip.start - datetime_of(window.from_us)).total_seconds() * 1e6
        return await asyncio.to_thread(fragmented, file.getvalue(), round(start_us))

    def _made(self, key: tuple[str, Window], task: asyncio.Task[RenderedPiece]) -> None:
        self._making.pop(key, None)
        if task.cancelled() or task.exception() is not None:
            return
        piece = task.result()
        self._kept[key] = piece
        self._bytes += len(piece.fragments)
        while self._bytes > _MOST_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.fragments)


def fragmented(mp4: bytes, start_us: int) -> RenderedPiece:
    """An MP4 file as fragments, coded no second time.

    Args:
        mp4: of one video stream; frames before its first to be shown have times below 0.
        start_us: capture time of the first frame to be shown, microseconds since 1970.

    Raises:
        StorageError: it is no such file.
    """
    buffer = BytesIO()
    try:
        with av.open(BytesIO(mp4), "r") as source, av.open(buffer, "w", format="mp4", options=_MUXER) as target:
            video = source.streams.video[0]
            stream = target.add_stream_from_template(video)
            stream.time_base = _TIME_BASE
            scale = (video.time_base or 1) * TICKS
            for packet in source.demux(video):
                if packet.pts is None:
                    continue  # what ends the stream
                ticks, length = round(packet.pts * scale), round((packet.duration or 1) * scale)
                packet.pts = packet.dts = to_ticks(start_us) + ticks
                packet.duration = max(1, length)
                packet.time_base = _TIME_BASE
                packet.stream = stream
                target.mux(packet)
        init, fragments = split(buffer.getvalue())
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise StorageError(f"what the cloud rendered is no video: {error}") from None
    return RenderedPiece(init, buffer.getvalue()[fragments[0].start : fragments[-1].end])
