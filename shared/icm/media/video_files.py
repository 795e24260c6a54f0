"""Videos as files: what the ``icm`` command reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from icm.codec.bitstream.record import check_size
from icm.errors import ImageError, RecordError
from icm.media.orientation import ShownFrames
from icm.media.structure import broken
from icm.media.video_reading import VideoReader

VIDEOS = {".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".ts", ".y4m"}
_MICROSECOND = Fraction(1, 1_000_000)
_MOST_OF_ANOTHER_SIZE = 10
"""Frames in a row: fewer, after which the former size comes back, were damaged."""


@contextmanager
def open_video(
    path: Path, note: Callable[[str], None], missing: Callable[[str], None], name: str | None = None
) -> Iterator[tuple[int, Iterator[tuple[int, NDArray[np.uint8]]]]]:
    """A video's frame count (0 if the container does not say) and its frames, as many as can be had.

    A frame is its time in microseconds from the first one, which rises, and uint8[H, W, 3] RGB; all are of one size.

    Args:
        note: told what had to be mended on the way.
        missing: told, after the last frame, what the file promises and did not give.
        name: what errors call the file; None for its path.

    Raises:
        ImageError: the file is missing, holds no video that can be decoded, or one whose size changes on the way.
    """
    name = name or str(path)
    try:
        with open_container(path) as container:
            if not container.streams.video:
                raise ImageError(f"{name} holds no video")
            try:
                reader = VideoReader(container, path, lambda text: note(f"{name}: {text}"))
            except ImageError as error:
                raise ImageError(f"{name}: {error}") from None

            shown = ShownFrames(reader.stream)

            def frames() -> Iterator[tuple[int, NDArray[np.uint8]]]:
                coded = size = None
                others = left_out = 0
                for number, (time_us, frame) in enumerate(reader.frames()):
                    if coded is None:
                        _check_size(frame.width, frame.height, name)
                    coded = coded or (frame.width, frame.height)
                    # A damaged frame may say that it is of any size; it is not converted then.
                    same = coded == (frame.width, frame.height)
                    picture = shown(frame) if same else None
                    this = (frame.width, frame.height) if picture is None else (picture.shape[1], picture.shape[0])
                    size = size or this
                    if picture is None or this != size:
                        others += 1
                        change = f"{size[0]}x{size[1]} to {this[0]}x{this[1]} after {number + 1 - others} frames"
                        if others == _MOST_OF_ANOTHER_SIZE:
                            break
                        continue
                    left_out, others = left_out + others, 0
                    yield time_us, picture
                if others:
                    raise ImageError(f"{name} changes from {change}: cut it in two there")
                if left_out:
                    missing(f"{name}: {left_out} damaged frame{'s' * (left_out > 1)} of another size left out")
                shortfall = reader.shortfall()
                if size is None:
                    raise ImageError(f"{name} holds no frames: {shortfall or 'it may be cut off at its start'}")
                if shortfall is not None:
                    missing(f"{name}: {shortfall}")

            yield reader.count, frames()
    except (av.FFmpegError, FileNotFoundError) as error:
        raise ImageError(f"{name} cannot be read as a picture or a video: {why_unreadable(path, error)}") from None


def _check_size(width: int, height: int, name: str) -> None:
    try:
        check_size(width, height)
    except RecordError as error:
        raise ImageError(f"{name}: {error}") from None


def why_unreadable(path: Path, error: av.FFmpegError | OSError) -> str:
    """What FFmpeg says of a file, and what is missing of it: of an MP4 that was cut off, it finds invalid data only."""
    try:
        missing = broken(path)
    except OSError:
        missing = None
    return f"{error.strerror}; {missing}" if missing else str(error.strerror)


def open_container(path: Path) -> InputContainer:
    """The file opened by FFmpeg, which is told by its content what it holds.

    Raises:
        FFmpegError: it is nothing that FFmpeg knows.
        OSError: it cannot be read.
    """
    try:
        # With the protocol: of a plain name, what stands before a colon would be one.
        container = av.open(f"file:{path}")
        if not _goes_by_names(container.format.name):
            return container
        container.close()
    except (av.FFmpegError, UnicodeEncodeError):
        pass
    # By its name FFmpeg took it for a picture, or for something else that it is not. Without one, content decides.
    with path.open("rb") as file:
        return av.open(f"file:/dev/fd/{file.fileno()}")


def _goes_by_names(format: str) -> bool:
    """Whether it is of the formats that FFmpeg takes a file for because of its ending: pictures, and text as a film."""
    return format in ("image2", "tty") or format.endswith("_pipe")


class LosslessVideo:
    """Writes frames as Matroska with FFV1 in RGB, so that not a bit of them changes.

    Where the file cannot be written all of its methods raise OSError, and ImageError where FFmpeg will not write it.
    """

    def __init__(self, file: BinaryIO, width: int, height: int) -> None:
        """Begins a video in an open file.

        Args:
            file: only ``finish`` makes it a whole video.
        """
        self._container = av.open(file, "w", format="matroska")
        self._stream = self._container.add_stream("ffv1", rate=25)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "bgr0"
        self._stream.codec_context.time_base = _MICROSECOND
        self._last_us = -1

    def write(self, time_us: int, image: NDArray[np.uint8]) -> None:
        """Adds uint8[H, W, 3] RGB, shown from this many microseconds after the start, but after the frame before it."""
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        # Records need not be of our making; no player takes times that go back.
        self._last_us = max(time_us, self._last_us + 1)
        frame.pts, frame.time_base = self._last_us, _MICROSECOND
        with _reporting(f"the frame at {time_us / 1e6:g} s"):
            self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Completes the video; the file stays open."""
        with _reporting("the end of the video"):
            self._container.mux(self._stream.encode(None))
            self._container.close()


@contextmanager
def _reporting(what: str) -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        raise ImageError(f"{what} cannot be written: {error.strerror}") from None
