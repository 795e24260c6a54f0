"""Videos as files: what the ``icm`` command reads and writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from shared.codec.upright import ShownFrames
from shared.errors import ImageError

VIDEOS = {".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".ts", ".y4m"}
_MICROSECOND = Fraction(1, 1_000_000)


@contextmanager
def open_video(path: Path, name: str | None = None) -> Iterator[tuple[int, Iterator[tuple[int, NDArray[np.uint8]]]]]:
    """A video's frame count (0 if the container does not say) and its frames.

    A frame is its time in microseconds from the first one, and uint8[H, W, 3] RGB; all are of one size.

    Args:
        name: what errors call the file; None for its path.

    Raises:
        ImageError: the file is missing, holds no video that can be decoded, or one whose size changes on the way.
    """
    name = name or str(path)
    try:
        with av.open(file_url(path)) as container:
            if not container.streams.video:
                raise ImageError(f"{name} holds no video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or 25)
            shown = ShownFrames(stream)

            def frames() -> Iterator[tuple[int, NDArray[np.uint8]]]:
                start = size = None
                for number, frame in enumerate(container.decode(stream)):
                    time = frame.time if frame.time is not None else number / rate
                    start = time if start is None else start
                    size = size or (frame.width, frame.height)
                    if size != (frame.width, frame.height):
                        raise ImageError(
                            f"{name} changes from {size[0]}x{size[1]} to {frame.width}x{frame.height} after"
                            f" {number} frames: cut it in two there"
                        )
                    yield round((time - start) * 1e6), shown(frame)

            yield stream.frames, frames()
    except (av.FFmpegError, FileNotFoundError) as error:
        raise ImageError(f"{name} cannot be read as a picture or a video: {error.strerror}") from None


def file_url(path: Path) -> str:
    """The file's name as FFmpeg takes it: of a plain one, what stands before a colon would be a protocol."""
    return f"file:{path}"


class LosslessVideo:
    """Writes frames as Matroska with FFV1 in RGB, so that not a bit of them changes."""

    def __init__(self, file: BinaryIO, width: int, height: int) -> None:
        """Args: file, which only ``finish`` makes a whole video. Writing raises OSError where it cannot be written."""
        self._container = av.open(file, "w", format="matroska")
        self._stream = self._container.add_stream("ffv1", rate=25)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "bgr0"
        self._stream.codec_context.time_base = _MICROSECOND

    def write(self, time_us: int, image: NDArray[np.uint8]) -> None:
        """Adds uint8[H, W, 3] RGB, shown from this many microseconds after the start."""
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = time_us, _MICROSECOND
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Completes the video; the file stays open."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
