"""Whether an Ogg file is all there, by numbers and checksums of its pages: FFmpeg leaves out bad ones in silence.

A page's layout and its checksum are those of RFC 3533, section 6.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO

START = b"OggS"
_HEAD = 27
"""Bytes of a page before its table of lengths."""
_ENDS_STREAM = 4
_MIRRORED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def broken(file: BinaryIO, size: int) -> str | None:
    """What is wrong with the file's pages, in plain words; None if nothing is. What stands behind them does not count.

    Args:
        size: of the file in bytes.
    """
    at = 0
    following: dict[bytes, int] = {}
    while at < size:
        file.seek(at)
        head = file.read(_HEAD)
        if not head.startswith(START[: len(head)]):
            return f"its structure is damaged at byte {at}" if following else None
        lengths = file.read(head[26]) if len(head) == _HEAD else b""
        body = file.read(sum(lengths))
        if len(head) < _HEAD or len(lengths) < head[26] or len(body) < sum(lengths):
            return "it ends in the middle of a page: it may be cut off"
        stream, number = head[14:18], int.from_bytes(head[18:22], "little")
        if _checksum(head[:22] + bytes(4) + head[26:] + lengths + body) != int.from_bytes(head[22:26], "little"):
            return f"its page at byte {at} is damaged"
        if number != following.get(stream, number):
            return f"pages are missing before byte {at}"
        if head[5] & _ENDS_STREAM:
            following.pop(stream, None)
        else:
            following[stream] = number + 1
        at += _HEAD + len(lengths) + len(body)
    return "its last page is missing: it may be cut off" if following else None


def _checksum(page: bytes) -> int:
    """The CRC with 0x04C11DB7 that begins with 0 and mirrors nothing, by zlib's, which mirrors all and inverts."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")
