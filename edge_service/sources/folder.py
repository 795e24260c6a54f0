"""A folder of pictures as a camera."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from edge_service.sources.base import Frame, Source
from icm.errors import ConfigError, ImageError, SourceError
from icm.media.pictures import open_pictures
from icm.service.clock import Clock

_log = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png")


class FolderSource(Source):
    """The JPEG and PNG files of a folder in order of their names, so many pictures a second; then it ends."""

    live = False

    def __init__(self, path: Path, fps: float, clock: Clock) -> None:
        self._path, self._fps, self._clock = path, fps, clock
        self.damaged = 0

    def check(self) -> None:
        """Checks that the folder can be read.

        Raises:
            ConfigError: there is no such folder.
            SourceError: it holds no pictures.
        """
        if not self._path.is_dir():
            raise ConfigError(f"there is no folder at {self._path}: check the camera's source.path")
        if not self._files():
            raise SourceError(f"the folder {self._path} holds no pictures ({', '.join(SUFFIXES)})")

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """See ``Source.frames``. A file that is no picture is logged and left out; all of several in one file come."""
        started_us, started = self._clock.now_us(), self._clock.monotonic()
        index = 0
        for path in self._files():
            try:
                with open_pictures(path, str(path)) as pictures:
                    for _, image in pictures:
                        due = index / self._fps
                        stop.wait(started + due - self._clock.monotonic())
                        if stop.is_set():
                            return
                        yield Frame(image, started_us + round(due * 1e6))
                        index += 1
                    if shortfall := pictures.shortfall():
                        _log.warning("%s: %s", path, shortfall)
            except ImageError as error:
                _log.warning("left out %s", error)
                self.damaged += 1
                index += 1

    def _files(self) -> list[Path]:
        try:
            named = (path for path in self._path.iterdir() if path.suffix.lower() in SUFFIXES)
            # A link that leads nowhere is named when it is its turn; a pipe would be waited for.
            return sorted(path for path in named if path.is_file() or not path.exists())
        except OSError as error:
            raise SourceError(f"cannot list the folder {self._path}: {error.strerror}") from None
