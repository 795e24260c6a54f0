"""Whether a GIF file is all there, which it does not say: of one that was cut off, players show what came."""

from __future__ import annotations

from typing import BinaryIO

_IMAGE, _EXTENSION, _END = 0x2C, 0x21, 0x3B


def has_end(file: BinaryIO) -> bool:
    """Whether the blocks of the file lead to its end mark."""
    file.seek(6)
    screen = file.read(7)
    if len(screen) == 7:
        file.seek(_colours(screen[4]), 1)
    while kind := file.read(1):
        if kind[0] == _END:
            return True
        if kind[0] == _IMAGE:
            descriptor = file.read(9)
            if len(descriptor) < 9:
                return False
            file.seek(_colours(descriptor[8]) + 1, 1)
        elif kind[0] == _EXTENSION:
            file.seek(1, 1)
        else:
            continue  # as players do, what belongs nowhere is skipped
        while length := file.read(1):
            if length[0] == 0:
                break
            file.seek(length[0], 1)
    return False


def _colours(flags: int) -> int:
    """Bytes of the colour table that follows."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
