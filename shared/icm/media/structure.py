"""Whether a video file is all there by what its container says of its own parts: of a copy that broke off, FFmpeg reads
what came, and says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from icm.media import ogg

_BOXES = {
    b"ftyp", b"moov", b"mdat", b"moof", b"mfra", b"sidx", b"styp", b"free", b"skip", b"wide", b"uuid", b"meta", b"udta",
}  # fmt: skip
"""What stands at the top of MP4 and MOV files; anything else there is of somebody else, and ignored by players."""
_EBML, _SEGMENT, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_IN_SEGMENT = {
    bytes.fromhex(one)
    for one in (
        "114d9b74",
        "1549a966",
        "1654ae6b",
        "1f43b675",
        "1c53bb6b",
        "1941a469",
        "1043a770",
        "1254c367",
        "ec",
        "bf",
    )
}
"""What a Matroska file's segment is made of."""
_IN_CLUSTER = {bytes.fromhex(one) for one in ("e7", "5854", "a7", "ab", "a3", "a0", "af", "ec", "bf")}
_FLV, _FLV_TAGS = b"FLV", {8, 9, 18}
"""How Flash videos begin, and the kinds of their parts: sound, picture, words."""
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
"""What in the header of WMV and ASF files tells their size."""
_MXF = bytes.fromhex("060e2b34")
"""How the key of each part of an MXF file begins."""
_SYNC = 0x47
_PACKETS = {188: 0, 192: 4, 204: 0}
"""Sizes of MPEG-TS packets, by what stands before each one's first byte."""
_ENOUGH_PACKETS = 3


def broken(path: Path) -> str | None:
    """Where the parts of the file do not add up, in plain words; None if they do, or nothing is known of its format.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        start = file.read(_ENOUGH_PACKETS * max(_PACKETS))
        file.seek(0)
        check: Callable[[BinaryIO, int], str | None] | None = None
        if start[4:8] in _BOXES:
            check = _boxes
        elif start[:4] == b"RIFF":
            check = _riff
        elif start[:4] == _EBML:
            check = _matroska
        elif start[:4] == ogg.START:
            check = ogg.broken
        elif start[:3] == _FLV:
            check = _flv
        elif start[:16] == _ASF:
            check = _asf
        elif start[:4] == _MXF:
            check = _mxf
        elif (packet := _packet_size(start)) is not None:
            return None if size % packet == 0 else "it ends in the middle of a packet: it may be cut off"
        return check(file, size) if check is not None else None


def _cut(what: str, ends: int, size: int) -> str:
    return f"{ends - size} bytes of its {what} are missing at its end: it may be cut off"


def _boxes(file: BinaryIO, size: int) -> str | None:
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4]), head[4:8]
        if kind not in _BOXES or length == 0:
            return None
        if length == 1:
            length = int.from_bytes(head[8:16])
        if length < 8:
            return None
        at += length
        if at > size:
            return _cut(f"part {kind.decode()!r}", at, size)
    return None


def _riff(file: BinaryIO, size: int) -> str | None:
    at = 0
    while at + 12 <= size:
        file.seek(at)
        head = file.read(12)
        length = int.from_bytes(head[4:8], "little")
        # A recorder that was switched off has not come to write the length.
        if head[:4] != b"RIFF" or not 4 < length < 0xFFFFFFFF:
            return None
        at += 8 + length
        if at > size:
            return _cut("RIFF part", at, size)
        at += length % 2
    return None


def _matroska(file: BinaryIO, size: int) -> str | None:
    """Goes from element to element; where one has no length, as in what was recorded live, into it."""
    kind, at, length = _element(file, 0)
    kind, at, length = _element(file, at + (length or 0))
    if kind != _SEGMENT:
        return None
    end = size if length is None else at + length
    if end > size:
        return _cut("Matroska segment", end, size)
    known = _IN_SEGMENT
    while at < end:
        kind, inside, length = _element(file, at)
        if kind not in known and kind not in _IN_SEGMENT:
            # Some put files behind each other.
            return None if kind == _EBML else f"its structure is damaged at byte {at}"
        if length is None:
            if kind != _CLUSTER:
                return None
            known, at = _IN_SEGMENT | _IN_CLUSTER, inside
            continue
        at = inside + length
        if at > size:
            return _cut("last part", at, size)
    return None


def _element(file: BinaryIO, at: int) -> tuple[bytes, int, int | None]:
    """An EBML element's kind, where its content starts and how long that is, None if it does not say."""
    file.seek(at)
    head = file.read(12)
    wide = 9 - head[0].bit_length() if head else 1
    kind, rest = head[:wide], head[wide:]
    if not rest or not rest[0]:
        return b"", at, 0
    digits = 9 - rest[0].bit_length()
    length = int.from_bytes(rest[:digits]) & (1 << 7 * digits) - 1
    unknown = length == (1 << 7 * digits) - 1
    return kind, at + wide + digits, None if unknown else length


def _flv(file: BinaryIO, size: int) -> str | None:
    """Goes from part to part, behind each of which stands its length."""
    file.seek(5)
    at = int.from_bytes(file.read(4)) + 4
    while at + 11 <= size:
        file.seek(at)
        head = file.read(4)
        if head[0] & 0x1F not in _FLV_TAGS:
            return None
        at += 11 + int.from_bytes(head[1:]) + 4
    if at == size:
        return None
    return _cut("last part", at, size) if at > size else "it ends in the middle of a part: it may be cut off"


def _asf(file: BinaryIO, size: int) -> str | None:
    file.seek(16)
    at, end = 30, int.from_bytes(file.read(8), "little")
    while at + 24 <= min(end, size):
        file.seek(at)
        head = file.read(92)
        if head[:16] == _ASF_FILE and len(head) == 92:
            told, live = int.from_bytes(head[40:48], "little"), head[88] & 1
            return None if live or told <= size else _cut("content", told, size)
        at += max(24, int.from_bytes(head[16:24], "little"))
    return None


def _mxf(file: BinaryIO, size: int) -> str | None:
    """Goes from part to part; the first one tells where the last ones begin."""
    file.seek(0)
    start = file.read(64)
    length, digits = _mxf_length(start[16:])
    footer = int.from_bytes(start[16 + digits + 24 : 16 + digits + 32])
    if footer >= size:
        return _cut("content", footer, size) if length else None
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(25)
        if not head.startswith(_MXF[: len(head)]):
            return None
        length, digits = _mxf_length(head[16:])
        at += 16 + digits + length
    return _cut("last part", at, size) if at > size else None


def _mxf_length(head: bytes) -> tuple[int, int]:
    """A part's length, and how many bytes say it."""
    if not head or head[0] < 0x80:
        return (head[0] if head else 0), 1
    digits = head[0] & 0x7F
    return int.from_bytes(head[1 : 1 + digits]), 1 + digits


def _packet_size(start: bytes) -> int | None:
    for size, before in _PACKETS.items():
        marks = start[before::size][:_ENOUGH_PACKETS]
        if len(marks) == _ENOUGH_PACKETS and set(marks) == {_SYNC}:
            return size
    return None
