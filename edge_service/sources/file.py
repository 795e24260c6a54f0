"""A video file as a camera."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from edge_service.sources.base import Frame, Source
from icm.codec.bitstream.record import check_size
from icm.errors import ConfigError, ImageError, RecordError, SourceError
from icm.media.orientation import ShownFrames
from icm.media.video_files import open_container, why_unreadable
from icm.media.video_reading import VideoReader, film
from icm.service.clock import Clock

_log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 60.0
"""Frames of a clip that lie further apart show a jump of its time stamps, unless they do so as a rule."""


class FileSource(Source):
    """Frames of a video file.

    In real time the capture time is the frame's place on the clip's own time line, counted from the start; otherwise
    it is the moment the frame is read. A frame is waited for no longer than ``LONGEST_WAIT_SECONDS``, or twice the
    clip's mean interval where that is more; what lies further ahead comes at once. What is damaged is left out.
    """

    live = False

    def __init__(self, path: Path, real_time: bool, loop: bool, clock: Clock) -> None:
        self._path, self._real_time, self._loop, self._clock = path, real_time, loop, clock
        self.damaged = 0
        self._said: set[str] = set()

    def check(self) -> None:
        """Checks that the file can be read.

        Raises:
            ConfigError: there is no such file.
            SourceError: it holds no video.
        """
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
                due = lap_start + seconds
                if self._real_time:
                    stop.wait(started + due - self._clock.monotonic())
                if stop.is_set():
                    return
                yield Frame(image, started_us + round(due * 1e6) if self._real_time else self._clock.now_us())
                due += interval
            if not self._loop:
                return
            lap_start = due

    def _read(self) -> Iterator[tuple[float, float, NDArray[np.uint8]]]:
        """Each frame's time since the first in seconds, the usual interval, and the picture."""
        with self._open() as container:
            mean = film(container).average_rate
            longest_wait = max(LONGEST_WAIT_SECONDS, float(2 / mean) if mean else 0.0)
            try:
                reader = VideoReader(container, self._path, self._say, longest_wait)
            except ImageError as error:
                raise SourceError(f"the video file {self._path}: {error}") from None
            shown = ShownFrames(reader.stream)
            came = too_large = 0
            damaged_before = self.damaged
            for time_us, frame in reader.frames():
                try:
                    picture = self._picture(frame, shown)
                except SourceError as error:
                    if not came:
                        raise
                    # A damaged frame may say that it is of any size.
                    too_large += 1
                    self._say(str(error))
                    continue
                finally:
                    self.damaged = damaged_before + reader.damaged + too_large
                came += 1
                yield time_us / 1e6, float(reader.interval), picture
            self.damaged = damaged_before + reader.damaged + too_large
            shortfall = reader.shortfall()
        if not came:
            raise SourceError(f"the video file {self._path} holds no frames: it may be cut off")
        if shortfall is not None:
            self._say(shortfall)

    def _say(self, text: str) -> None:
        # Of a loop, each lap would say the same.
        if text not in self._said:
            self._said.add(text)
            _log.warning("the video file %s: %s", self._path, text)

    def _picture(self, frame: VideoFrame, shown: ShownFrames) -> NDArray[np.uint8]:
        try:
            check_size(frame.width, frame.height)
        except RecordError as error:
            raise SourceError(f"the video file {self._path} cannot be used: {error}") from None
        try:
            return shown(frame)
        except av.error.FFmpegError as error:
            raise SourceError(f"a frame of {self._path} cannot be shown: {error.strerror}") from None

    def _open(self) -> InputContainer:
        try:
            container = open_container(self._path)
        except (av.error.FFmpegError, OSError) as error:
            raise SourceError(f"cannot read the video file {self._path}: {why_unreadable(self._path, error)}") from None
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self._path} holds no video")
        return container
