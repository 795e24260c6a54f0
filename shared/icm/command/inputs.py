"""What ``icm`` reads: files of pictures and videos, told apart by their content, and whatever standard input brings."""

from __future__ import annotations

import mmap
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from icm.atomic_file import scratch_file
from icm.command.outputs import STANDARD
from icm.errors import ConfigError, ImageError
from icm.media import jpeg
from icm.media.pictures import is_picture, open_pictures
from icm.media.video_files import open_video

Timed = tuple[int, NDArray[np.uint8]]
"""A picture's time in microseconds from the first one, and uint8[H, W, 3] RGB."""

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
"""What photos of some phones begin with. FFmpeg would show one of the tiles that they are made of."""


@dataclass(frozen=True)
class Input:
    """A file to read.

    Attributes:
        path: where its bytes are.
        name: what people call it.
    """

    path: Path
    name: str


@contextmanager
def readable(argument: Path) -> Iterator[Input]:
    """The file of that name, or all that comes from standard input (``-``), a pipe or a device.

    Raises:
        ConfigError: there is no such file.
    """
    if argument != STANDARD and _is_regular(argument):
        yield Input(argument, str(argument))
        return
    name = "standard input" if argument == STANDARD else str(argument)
    with scratch_file() as copy:
        try:
            with _stream(argument) as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target)
        except OSError as error:
            raise ConfigError(f"cannot read {name}: {error.strerror}") from None
        yield Input(copy, name)


@contextmanager
def open_frames(
    source: Input, note: Callable[[str], None], missing: Callable[[str], None]
) -> Iterator[tuple[int, Iterator[Timed]]]:
    """How many pictures a file should hold, 0 if it does not say, and those that can be had, of which there is one.

    Args:
        note: told what had to be mended, and what is left out because viewers do not show it either.
        missing: told, after the last picture, what the file promises and did not give.

    Raises:
        ImageError: it is of no kind that can be read, damaged or too large.
    """
    if not _is_photo(source):
        with open_video(source.path, note, missing, source.name) as opened:
            yield opened
        return
    with open_pictures(source.path, source.name) as file:
        if file.left_out:
            note(f"{source.name}: {file.left_out} smaller pictures beside the photo are left out")

        def pictures() -> Iterator[Timed]:
            yield from file
            if (shortfall := file.shortfall()) is not None:
                missing(f"{source.name}: {shortfall}")

        yield file.count, pictures()


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


@contextmanager
def _stream(argument: Path) -> Iterator[BinaryIO]:
    if argument != STANDARD:
        with argument.open("rb") as file:
            yield file
    elif sys.stdin is None:
        raise ConfigError("there is no standard input to read")
    else:
        yield sys.stdin.buffer


def _is_photo(source: Input) -> bool:
    try:
        with source.path.open("rb") as file:
            start = file.read(12)
            if start.startswith(jpeg.START):
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    if jpeg.Markers(content).followed_by_frames():
                        return False
        if is_picture(source.path):
            return True
    except OSError as error:
        raise ImageError(f"cannot read {source.name}: {error.strerror}") from None
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS:
        raise ImageError(f"{source.name} is a HEIF photo, which cannot be read here: save it as JPEG or PNG")
    return False
