"""Keeps libtiff quiet: it prints what is wrong with a file by itself, beside the one message that people are to get."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

import PIL.Image


def silence() -> None:
    """Lets the libtiff that Pillow brought print nothing more, where it can be found."""
    # Loading what reads pictures is what loads libtiff.
    PIL.Image.preinit()
    with suppress(OSError, StopIteration, AttributeError):
        loaded = Path("/proc/self/maps").read_text().splitlines()
        library = next(line[line.index("/") :] for line in loaded if "/libtiff" in line)
        ctypes.CDLL(library).TIFFSetErrorHandler(None)
