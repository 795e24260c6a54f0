"""The record format: how coded frames are laid out as bytes. docs/record-format.md draws it.

Everything that stays the same along a stream stands once, in its header; a record adds 23 bytes to its payload.
Parsing is total: any bytes give records or a ``RecordError``.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import google_crc32c

from icm.camera_name import check_camera_name
from icm.errors import ConfigError, RecordError, RecordVersionError

MAGIC = b"ICMB"
VERSION = 3
"""Of what is written. Version 2 is read too: its records' digests do not cover the quality."""
READ_VERSIONS = (2, 3)
CODEC_ID_BYTES = 32
MAX_SIDE = 16_384
MAX_PIXELS = 1 << 23
"""Largest picture, in pixels; 3840x2160 fits. A decoder needs about 150 bytes a pixel, so this bounds its memory."""
MAX_PAYLOAD = (1 << 24) - 1
MAX_SEQUENCE = (1 << 32) - 1
MAX_DELTA_US = (1 << 48) - 1
LATEST_US = 253_000_000_000_000_000
"""Latest capture time that services take, microseconds since 1970: in the year 9987, which calendars know."""
MAX_REFERENCE = 63
RECORD_OVERHEAD = 23
"""Bytes of a record beside its payload."""

_HEADER_START = struct.Struct("<4sB32sB")
_HEADER_END = struct.Struct("<QQHH")
_RECORD_START = struct.Struct("<IIHBBHBI")
_CRC = struct.Struct("<I")


_MOTION = 2
"""What a record says in place of its kind where it is a P record with motion."""


class Kind(enum.IntEnum):
    """How a frame is coded."""

    I = 0  # noqa: E741 - the field's own name
    """Alone."""
    P = 1
    """Given the latents of an earlier frame."""


@dataclass(frozen=True)
class StreamHeader:
    """What all records after it have in common.

    Attributes:
        codec_id: the bundle's digest, 32 bytes.
        camera: its name; see ``icm.camera_name``.
        epoch: the numbering that the sequences belong to, 0..2**64 - 1.
        base_us: microseconds since 1970, UTC, that capture times count from.
        width: of every picture, in pixels.
        height: of every picture, in pixels.
        version: of the record format.
    """

    codec_id: bytes
    camera: str
    epoch: int
    base_us: int
    width: int
    height: int
    version: int = VERSION

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            RecordError: a field is outside its range.
        """
        if len(self.codec_id) != CODEC_ID_BYTES:
            raise RecordError(f"a codec id has {CODEC_ID_BYTES} bytes, not {len(self.codec_id)}")
        try:
            check_camera_name(self.camera)
        except ConfigError as error:
            raise RecordError(str(error)) from None
        check_size(self.width, self.height)
        for name, value in (("epoch", self.epoch), ("base_us", self.base_us)):
            if not 0 <= value < 1 << 64:
                raise RecordError(f"{name} {value} does not fit 64 bits")

    def pack(self) -> bytes:
        name = self.camera.encode()
        start = _HEADER_START.pack(MAGIC, self.version, self.codec_id, len(name))
        body = start + name + _HEADER_END.pack(self.epoch, self.base_us, self.width, self.height)
        return body + _CRC.pack(google_crc32c.value(body))

    @staticmethod
    def parse(data: bytes) -> tuple[StreamHeader, int]:
        """Reads the header at the start of ``data``; returns it and its length in bytes.

        Raises:
            RecordError: there is no whole, undamaged header of this version.
        """
        if len(data) < _HEADER_START.size:
            raise RecordError(f"a stream header has at least {_HEADER_START.size} bytes, here are {len(data)}")
        magic, version, codec_id, name_length = _HEADER_START.unpack_from(data)
        if magic != MAGIC:
            raise RecordError(f"this is no ICM stream: it starts with {magic!r} instead of {MAGIC!r}")
        if version not in READ_VERSIONS:
            known = " and ".join(map(str, READ_VERSIONS))
            raise RecordVersionError(f"the stream has format version {version}; this program reads {known}")
        body_length = _HEADER_START.size + name_length + _HEADER_END.size
        length = body_length + _CRC.size
        if len(data) < length:
            raise RecordError(f"the stream header is cut off after {len(data)} of {length} bytes")
        (crc,) = _CRC.unpack_from(data, body_length)
        if crc != google_crc32c.value(bytes(data[:body_length])):
            raise RecordError("the stream header is damaged: its checksum does not fit")
        try:
            camera = bytes(data[_HEADER_START.size : body_length - _HEADER_END.size]).decode("ascii")
        except UnicodeDecodeError:
            raise RecordError("the stream header's camera name is not ASCII") from None
        epoch, base_us, width, height = _HEADER_END.unpack_from(data, body_length - _HEADER_END.size)
        return StreamHeader(codec_id, camera, epoch, base_us, width, height, version), length

    def holds(self, capture_us: int, width: int, height: int) -> bool:
        """Whether a frame of this time and size can follow under this header."""
        return (width, height) == (self.width, self.height) and 0 <= capture_us - self.base_us <= MAX_DELTA_US


@dataclass(frozen=True)
class Record:
    """One coded frame.

    Attributes:
        sequence: 1..2**32 - 1, position within the epoch.
        capture_us: microseconds since 1970, UTC.
        kind: I or P.
        reference: for P, how many sequences back the reference lies, 1..63; for I, 0.
        quality: 1/16 quality levels, 0..255.
        digest: CRC32C of the integer latents and, from version 3 on, the quality; see ``icm.codec.latents.latents``.
        payload: the entropy-coded latents.
        motion: of a P record, whether its payload is one with motion (``icm.codec.motion.model``).
        version: of the record format, its stream header's.
    """

    sequence: int
    capture_us: int
    kind: Kind
    reference: int
    quality: int
    digest: int
    payload: bytes
    motion: bool = False
    version: int = VERSION

    def pack(self, header: StreamHeader) -> bytes:
        """The record's bytes in a stream with this header.

        Raises:
            RecordError: a field does not fit the format or the header.
        """
        if self.version != header.version:
            raise RecordError(f"a record of format version {self.version} is none of version {header.version}")
        delta = self.capture_us - header.base_us
        if self.motion and self.kind is not Kind.P:
            raise RecordError("only a P record has motion")
        for name, value, low, high in (
            ("sequence", self.sequence, 1, MAX_SEQUENCE),
            ("capture time since the header's base", delta, 0, MAX_DELTA_US),
            ("reference", self.reference, int(self.kind == Kind.P), MAX_REFERENCE if self.kind == Kind.P else 0),
            ("quality", self.quality, 0, 255),
            ("payload length", len(self.payload), 0, MAX_PAYLOAD),
        ):
            if not low <= value <= high:
                raise RecordError(f"the record's {name} is {value}; it must lie between {low} and {high}")
        body = (
            _RECORD_START.pack(
                self.sequence,
                delta & 0xFFFF_FFFF,
                delta >> 32,
                self.quality,
                (_MOTION if self.motion else self.kind) | self.reference << 2,
                len(self.payload) & 0xFFFF,
                len(self.payload) >> 16,
                self.digest,
            )
            + self.payload
        )
        return body + _CRC.pack(google_crc32c.value(body))

    @staticmethod
    def parse(
        data: bytes | memoryview, header: StreamHeader, checksum: Callable[[int], int] | None = None
    ) -> tuple[Record, int]:
        """Reads the record at the start of ``data``; returns it and its length in bytes.

        Args:
            checksum: the CRC32C of the first so many bytes of ``data``, for who can tell without going over them.

        Raises:
            RecordError: there is no whole, undamaged record.
        """
        if len(data) < RECORD_OVERHEAD:
            raise RecordError(f"a record has at least {RECORD_OVERHEAD} bytes, here are {len(data)}")
        sequence, low, high, quality, kinds, length_low, length_high, digest = _RECORD_START.unpack_from(data)
        body_length = _RECORD_START.size + (length_low | length_high << 16)
        length = body_length + _CRC.size
        if len(data) < length:
            raise RecordError(f"record {sequence} is cut off after {len(data)} of {length} bytes")
        (crc,) = _CRC.unpack_from(data, body_length)
        if crc != (checksum(body_length) if checksum else google_crc32c.value(bytes(data[:body_length]))):
            raise RecordError(f"record {sequence} is damaged: its checksum does not fit")
        reference, coded_as = kinds >> 2, kinds & 3
        if coded_as not in (Kind.I, Kind.P, _MOTION) or (reference > 0) != (coded_as != Kind.I) or sequence == 0:
            raise RecordError(f"record {sequence} has an impossible kind, reference or sequence")
        payload = bytes(data[_RECORD_START.size : body_length])
        capture_us = header.base_us + (low | high << 32)
        kind = Kind.I if coded_as == Kind.I else Kind.P
        motion = coded_as == _MOTION
        return Record(sequence, capture_us, kind, reference, quality, digest, payload, motion, header.version), length

    @staticmethod
    def claimed_length(data: bytes | memoryview) -> int:
        """How long the record at the start of ``data`` says that it is, damaged or not."""
        if len(data) < RECORD_OVERHEAD:
            return len(data)
        *_, low, high, _ = _RECORD_START.unpack_from(data)
        return int(_RECORD_START.size + (low | high << 16) + _CRC.size)

    @staticmethod
    def parse_whole(data: bytes, header: StreamHeader) -> Record:
        """Reads ``data`` as exactly one record.

        Raises:
            RecordError: it is not.
        """
        record, length = Record.parse(data, header)
        if length != len(data):
            raise RecordError(f"{len(data) - length} bytes follow record {record.sequence} where none belong")
        return record


def is_intra(packed: bytes) -> bool:
    """Whether a packed record, or the first ``RECORD_OVERHEAD`` bytes of one, refers to no other. So do bytes
    that are no record.
    """
    return len(packed) < RECORD_OVERHEAD or _RECORD_START.unpack_from(packed)[4] & 3 not in (Kind.P, _MOTION)


def too_short_for_records(data: bytes) -> bool:
    """Whether a stream that begins with these bytes ends before its first record could."""
    name_length = data[_HEADER_START.size - 1] if len(data) >= _HEADER_START.size else 0
    return len(data) < _HEADER_START.size + name_length + _HEADER_END.size + _CRC.size + RECORD_OVERHEAD


def parse_stream(data: bytes) -> tuple[StreamHeader, Iterator[Record]]:
    """Reads a file's worth of bytes: one header, then records to the end.

    Raises:
        RecordError: the header is no header; the iterator raises it too, at the first bad record.
    """
    header, offset = StreamHeader.parse(data)

    def records() -> Iterator[Record]:
        view, position = memoryview(data), offset
        while position < len(view):
            record, length = Record.parse(view[position:], header)
            position += length
            yield record

    return header, records()


def check_size(width: int, height: int) -> None:
    """Checks a picture's size.

    Raises:
        RecordError: no picture of this size can be coded.
    """
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise RecordError(
            f"a picture of {width}x{height} cannot be coded: sides go up to {MAX_SIDE}, pixels up to {MAX_PIXELS}"
        )
