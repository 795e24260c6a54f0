"""Pieces of video put together as one MP4 file, cut to the frame and coded no second time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import av

from cloud_service.archive.fragments import TICKS, to_microseconds, to_ticks
from icm.errors import NotFoundError, StorageError, storage_error

_LEAST_TICKS = TICKS // 1000
"""For which the last frame is shown: edit lists count milliseconds, and what is shown for less is not shown."""
_MUXER = {
    # The table of frames in front, so that a player can begin before it has all of the file.
    "movflags": "faststart",
    # Frames before the clip's first keep their times, which are below 0: an edit list has players decode and not show
    # them.
    "avoid_negative_ts": "disabled",
}


@dataclass(frozen=True)
class Cut:
    """What was written.

    Attributes:
        start_us: capture time of the first frame, microseconds since 1970.
        duration_us: from the first frame to the end of the last.
        frames: how many there are to see.
    """

    start_us: int
    duration_us: int
    frames: int


def write_clip(target: Path, pieces: Iterable[bytes], from_us: int, to_us: int) -> Cut:
    """Writes those frames of pieces that were captured from ``from_us`` on and before ``to_us``.

    Args:
        target: a file that nobody else uses.
        pieces: an init segment and fragments behind it each, in the order of their times; all have the same init
            segment.
        from_us: microseconds since 1970.
        to_us: microseconds since 1970.

    Raises:
        NotFoundError: there is no such frame.
        StorageError: the disk refused, or a piece is no video.
    """
    try:
        with av.open(str(target), "w", format="mp4", options=_MUXER) as container:
            writer = _Writer(container, to_ticks(from_us), to_ticks(to_us))
            for piece in pieces:
                with av.open(BytesIO(piece), "r") as source:
                    writer.add(source)
            return writer.finish()
    except OSError as error:
        raise storage_error(error, target) from None
    except (av.FFmpegError, ValueError) as error:
        raise StorageError(f"cannot put the clip {target} together: {error}") from None


class _Writer:
    """Takes packets of one video stream, and passes on those that belong into the clip."""

    def __init__(self, container: Any, first: int, end: int) -> None:
        self._container, self._first, self._end = container, first, end
        self._stream: Any = None
        # The last key frame before the clip and what follows it.
        self._before: list[Any] = []
        self._start: int | None = None
        self._last = self._until = -1
        self._frames = 0

    def add(self, source: Any) -> None:
        """Takes the packets of a piece."""
        video = source.streams.video[0]
        if self._stream is None:
            self._stream = self._container.add_stream_from_template(video)
            self._stream.time_base = video.time_base
        for packet in source.demux(video):
            if packet.pts is None:
                continue  # what ends the stream
            # Pieces of two streams of one camera may overlap: no frame is left out, as others may need it.
            packet.pts = packet.dts = self._last = max(packet.pts, self._last + 1)
            if packet.pts >= self._end:
                break
            if packet.pts >= self._first:
                self._show(packet)
            else:
                self._before = [packet] if packet.is_keyframe else [*self._before, packet]

    def finish(self) -> Cut:
        """What the file holds.

        Raises:
            NotFoundError: no frame came that belongs into the clip.
        """
        if self._start is None:
            raise NotFoundError("there is no frame between the clip's start and its end")
        start = to_microseconds(self._start)
        return Cut(start, to_microseconds(self._until) - start, self._frames)

    def _show(self, packet: Any) -> None:
        if self._start is None:
            self._start = packet.pts
            for earlier in [] if packet.is_keyframe else self._before:
                self._mux(earlier)
        # Counts for the last one: of others, the next one's time does.
        packet.duration = max(_LEAST_TICKS, min(packet.duration or 1, self._end - packet.pts))
        self._until = packet.pts + packet.duration
        self._frames += 1
        self._mux(packet)

    def _mux(self, packet: Any) -> None:
        packet.pts = packet.dts = packet.pts - self._start
        packet.stream = self._stream
        self._container.mux(packet)
