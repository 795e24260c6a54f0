"""Pictures and videos as files: what the ``icm`` command reads and writes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.codec.record import MAX_PIXELS, check_size
from shared.codec.video_reading import VideoReader
from shared.errors import ImageError, RecordError

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}
VIDEOS = {".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".ts", ".y4m"}
_MICROSECOND = Fraction(1, 1_000_000)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Any picture that Pillow reads, as uint8[H, W, 3] RGB; its size is checked before it is decoded.

    Raises:
        ImageError: the file is missing, no picture, damaged, or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                check_size(*image.size)
                return to_rgb(image)
    except FileNotFoundError:
        raise ImageError(f"there is no picture {path}") from None
    except RecordError as error:
        raise ImageError(f"{path}: {error}") from None
    except Exception as error:
        # Pillow raises whatever its parsers run into; for damaged files no list of types is complete.
        raise ImageError(f"{path} cannot be read as a picture of up to {MAX_PIXELS} pixels: {error}") from None


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Pixels of a picture that Pillow opened, uint8[H, W, 3] RGB; transparency is left out."""
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion would clip it to white.
        grey = np.asarray(image).astype(np.int64) >> 8
        return np.repeat(grey.clip(0, 255).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)
    return np.asarray(image.convert("RGB"))


def write_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """Writes uint8[H, W, 3] RGB in the format of the file's ending, all or nothing.

    Raises:
        ImageError: the ending names no format, or the file cannot be written.
    """
    if path.suffix.lower() not in PICTURES:
        raise ImageError(f"cannot write {path}: name it .png (lossless) or .jpg")
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        Image.fromarray(image).save(temporary)
        temporary.replace(path)
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def open_video(
    path: Path, note: Callable[[str], None], missing: Callable[[str], None]
) -> Iterator[tuple[int, Iterator[tuple[int, NDArray[np.uint8]]]]]:
    """A video's frame count (0 if the container does not say) and its frames, as many as can be had.

    A frame is its time in microseconds from the first one, which rises, and uint8[H, W, 3] RGB; all are of one size.

    Args:
        note: told what had to be mended on the way.
        missing: told, after the last frame, what the file promises and did not give.

    Raises:
        ImageError: the file is missing, holds no video that can be decoded, or one whose size changes on the way.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ImageError(f"{path} holds no video")
            try:
                reader = VideoReader(container, lambda text: note(f"{path}: {text}"))
            except ImageError as error:
                raise ImageError(f"{path}: {error}") from None

            def frames() -> Iterator[tuple[int, NDArray[np.uint8]]]:
                size = None
                for number, (time_us, frame) in enumerate(reader.frames()):
                    size = size or (frame.width, frame.height)
                    if size != (frame.width, frame.height):
                        raise ImageError(
                            f"{path} changes from {size[0]}x{size[1]} to {frame.width}x{frame.height} after"
                            f" {number} frames: cut it in two there"
                        )
                    yield time_us, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                if (shortfall := reader.shortfall()) is not None:
                    missing(f"{path}: {shortfall}")

            yield reader.count, frames()
    except (av.FFmpegError, FileNotFoundError) as error:
        raise ImageError(f"{path} cannot be read as a video: {error}") from None


class LosslessVideo:
    """Writes frames to a Matroska file as FFV1 in RGB, so that not a bit of them changes."""

    def __init__(self, path: Path, width: int, height: int) -> None:
        """Raises ImageError: the file cannot be written."""
        self._path = path
        self._temporary = path.with_name(f".{path.stem}.part.mkv")
        try:
            self._container = av.open(str(self._temporary), "w", format="matroska")
        except (av.FFmpegError, OSError) as error:
            raise ImageError(f"cannot write {path}: {error}") from None
        self._stream = self._container.add_stream("ffv1", rate=25)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "bgr0"
        self._stream.codec_context.time_base = _MICROSECOND
        self._last_us = -1

    def write(self, time_us: int, image: NDArray[np.uint8]) -> None:
        """Adds uint8[H, W, 3] RGB, shown from this many microseconds after the start, but after the frame before it.

        Raises ImageError: the file cannot be written.
        """
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        # Records need not be of our making; no player takes times that go back.
        self._last_us = max(time_us, self._last_us + 1)
        frame.pts, frame.time_base = self._last_us, _MICROSECOND
        with self._reporting():
            self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Completes the file and gives it its name; raises ImageError as ``write`` does."""
        with self._reporting():
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._temporary.replace(self._path)

    def abandon(self) -> None:
        """Deletes what was written."""
        with suppress(av.FFmpegError, OSError):  # it ends the file, for which a full disk has no room
            self._container.close()
        self._temporary.unlink(missing_ok=True)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise ImageError(f"cannot write {self._path}: {error.strerror or error}") from None
