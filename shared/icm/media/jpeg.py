"""The marker segments of a JPEG file: how much work it is, where it ends, and whether its end alone is missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from mmap import mmap
from typing import NamedTuple

START = b"\xff\xd8"
END = b"\xff\xd9"
_SCAN, _APP2 = 0xDA, 0xE2
_STANDALONE = (0x01, 0xD8)
"""Markers without a length: a private one, and the start of a picture."""
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of the segment that tells a picture's size."""
MOST_SCANS = 64
"""Scans that a picture may have. Each costs as much as decoding the picture anew; progressive ones have a dozen."""
MOST_SEGMENTS = 4096
"""Segments that a picture may have, its scans among them."""
_MOST_BETWEEN = 4096
"""Bytes of padding between two frames of a video."""

# Restart markers and stuffed bytes belong to a scan; other bytes between segments are skipped, as by all decoders.
# The last FF of a run alone: with all of them a long run would be looked through again from each.
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")


class _Segment(NamedTuple):
    marker: int
    start: int
    """Of its content."""
    end: int


class Markers:
    """The segments of a file's first picture.

    Attributes:
        too_much: what there is more of than any program writes; None if there is nothing.
        end: where the picture ends; None if its end is missing.
    """

    def __init__(self, data: bytes | mmap) -> None:
        self._data = data
        self._segments: list[_Segment] = []
        self.too_much: str | None = None
        self.end: int | None = None
        scans = 0
        for segment in _segments(data):
            self._segments.append(segment)
            scans += segment.marker == _SCAN
            if scans > MOST_SCANS:
                self.too_much = f"more than {MOST_SCANS} scans"
            elif len(self._segments) > MOST_SEGMENTS:
                self.too_much = f"more than {MOST_SEGMENTS} segments"
            if self.too_much:
                return
            if segment.marker == END[1]:
                self.end = segment.end

    def followed_by_frames(self) -> bool:
        """Whether this is a video of JPEG pictures, one right behind the other and all of one size.

        Behind a photo there may be other things: a preview, what it looks like on a bright screen, a clip.
        """
        data, end = self._data, self.end
        lists_others = any(
            one.marker == _APP2 and data[one.start + 2 : one.start + 6] == b"MPF\0" for one in self._segments
        )
        if end is None or lists_others:
            return False
        following = data.find(START, end, end + _MOST_BETWEEN)
        if following < 0 or data[end:following].strip(b"\0\r\n\xff"):
            return False
        size = _size(data, self._segments)
        return size is not None and size == _size(data, islice(_segments(data, following), MOST_SEGMENTS))

    def has_all_scans(self) -> bool:
        """Whether there is a scan for the last bit of every coefficient, be it whole or not."""
        components: set[int] = set()
        done: set[tuple[int, int]] = set()
        for segment in self._segments:
            content = self._data[segment.start + 2 : segment.end]
            if segment.marker in _FRAMES:
                components = {*content[6::3]}
            elif segment.marker == _SCAN and content and len(content) >= 4 + 2 * content[0]:
                first, last, bits = content[1 + 2 * content[0] :][:3]
                if bits & 15 == 0:
                    done |= {(one, n) for one in content[1 : 1 + 2 * content[0] : 2] for n in range(first, last + 1)}
        return bool(components) and {(one, n) for one in components for n in range(64)} <= done


def with_end(data: bytes) -> list[bytes]:
    """A file whose end marker is missing, with one; and the same with something before it, which only a scan that is
    not complete would take for its own and be changed by.
    """
    most = data.rstrip(b"\xff")
    return [most + filling + END for filling in (b"", 256 * b"\xaa", 256 * b"\x55")]


def _segments(data: bytes | mmap, position: int = 0) -> Iterator[_Segment]:
    """The segments of the picture that starts here, to its end or as far as they go."""
    while found := _MARKER.search(data, position):
        marker, start = found[1][0], found.end()
        alone = marker == END[1] or marker in _STANDALONE
        position = start if alone else start + int.from_bytes(data[start : start + 2])
        yield _Segment(marker, start, position)
        if marker == END[1]:
            return


def _size(data: bytes | mmap, segments: Iterable[_Segment]) -> bytes | None:
    """Rows and columns of a picture, as the file says them."""
    for segment in segments:
        if segment.marker in _FRAMES:
            return bytes(data[segment.start + 3 : segment.start + 7])
        if segment.marker == _SCAN:
            return None
    return None
