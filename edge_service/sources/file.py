"""A video file as a camera."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from edge_service.sources.base import Frame
from shared.clock import Clock
from shared.codec.media import open_container
from shared.codec.record import check_size
from shared.codec.upright import ShownFrames
from shared.errors import ConfigError, RecordError, SourceError

_FALLBACK_FPS = Fraction(25)
"""For files that tell no frame rate."""


class FileSource:
    """Frames of a video file.

    In real time the capture time is the frame's place on the clip's own time line, counted from the start; otherwise
    it is the moment the frame is read.
    """

    live = False

    def __init__(self, path: Path, real_time: bool, loop: bool, clock: Clock) -> None:
        self._path, self._real_time, self._loop, self._clock = path, real_time, loop, clock

    def check(self) -> None:
        """Raises ConfigError: there is no such file. SourceError: it holds no video."""
        if not self._path.is_file():
            raise ConfigError(f"there is no video file at {self._path}: check the camera's source.path")
        with self._open():
            pass

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """See ``Source.frames``."""
        lap_start = 0.0
        started_us, started = self._clock.now_us(), self._clock.monotonic()
        while not stop.is_set():
            due = lap_start
            for seconds, interval, image in self._read():
                if stop.is_set():
                    return
                due = lap_start + seconds
                if self._real_time:
                    stop.wait(started + due - self._clock.monotonic())
                    yield Frame(image, started_us + round(due * 1e6))
                else:
                    yield Frame(image, self._clock.now_us())
                due += interval
            if not self._loop:
                return
            lap_start = due

    def _read(self) -> Iterator[tuple[float, float, NDArray[np.uint8]]]:
        """Each frame's time since the first in seconds, the usual interval, and the picture."""
        with self._open() as container:
            stream = container.streams.video[0]
            shown = ShownFrames(stream)
            interval = float(1 / (stream.average_rate or _FALLBACK_FPS))
            first: float | None = None
            seconds = 0.0
            frame = None
            try:
                for frame in container.decode(stream):
                    if frame.time is not None:
                        first = frame.time if first is None else first
                        # Broken time stamps must not send the time line backwards.
                        seconds = max(seconds, frame.time - first)
                    yield seconds, interval, self._picture(frame, shown)
                    seconds += interval if frame.time is None else 0.0
            except av.error.FFmpegError as error:
                raise SourceError(f"the video file {self._path} is damaged at {seconds:.1f} s: {error}") from None
            if frame is None:
                raise SourceError(f"the video file {self._path} holds no frames: it may be cut off")

    def _picture(self, frame: VideoFrame, shown: ShownFrames) -> NDArray[np.uint8]:
        try:
            check_size(frame.width, frame.height)
        except RecordError as error:
            raise SourceError(f"the video file {self._path} cannot be used: {error}") from None
        return shown(frame)

    def _open(self) -> InputContainer:
        try:
            container = open_container(self._path)
        except (av.error.FFmpegError, OSError) as error:
            raise SourceError(f"cannot read the video file {self._path}: {error.strerror}") from None
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self._path} holds no video")
        return container
