"""Fragments: the stretches of an MP4 file that can be played without the rest of it, given its kind's init segment.

A fragment begins with a key frame and is a ``moof`` and an ``mdat`` box, whose times are those of the capture. An init
segment says what fragments of one encoder, picture size and options have in common; it is the same bytes for all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

TICKS = 90_000
"""Time units of all videos, per second; capture times since 1970 are counted in them."""


class Fragment(NamedTuple):
    """One fragment of a file.

    Attributes:
        offset: of its first byte in the file.
        length: in bytes.
        start_us: its key frame's capture time, microseconds since 1970.
        duration_us: from there to the end of its last frame, in microseconds.
    """

    offset: int
    length: int
    start_us: int
    duration_us: int


def to_ticks(capture_us: int) -> int:
    """A time in microseconds in ticks, rounded down."""
    return capture_us * TICKS // 1_000_000


def to_microseconds(ticks: int) -> int:
    """A number of ticks in microseconds, rounded down."""
    return ticks * 1_000_000 // TICKS


def init_name(init: bytes) -> str:
    """The name of an init segment, by its content: 16 hex digits."""
    return hashlib.sha256(init).hexdigest()[:16]


def init_path(name: str) -> str:
    """Where an init segment lies, relative to the archive's root."""
    return f"init/{name}.mp4"


def pack_fragments(fragments: Sequence[Fragment], start_us: int) -> str:
    """A table of fragments as text, times counted from ``start_us``."""
    return json.dumps([(of.offset, of.length, of.start_us - start_us, of.duration_us) for of in fragments])


def unpack_fragments(text: str, start_us: int) -> tuple[Fragment, ...]:
    """The table that ``pack_fragments`` made; an empty text has no fragments."""
    rows = json.loads(text) if text else []
    return tuple(Fragment(offset, length, start_us + at, duration) for offset, length, at, duration in rows)
