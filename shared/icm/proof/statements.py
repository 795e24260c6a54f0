"""What a chain says beside what became of single segments.

``Pruned`` is signed before the entries of blocks are dropped, so that whoever finds them gone can tell that from a
removal. ``EdgeKey`` names the key that an edge seals a camera's records with: the first that was met, and each that an
operator accepted after it. Like every
entry, each is one line of ASCII with one way only to write it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote

from icm.camera_name import check_camera_name
from icm.errors import ConfigError, ProofError
from icm.proof import merkle
from icm.proof.keys import PUBLIC_KEY_BYTES

PRUNED = "icm-pruned-1"
EDGE_KEY = "icm-edge-key-1"
_NOTHING = "-"
MOST = (1 << 63) - 1
"""Of any number in an entry: what databases hold."""
MOST_US = 253_402_300_799_999_999
"""Of any time in a chain: the end of the year 9999, which calendars know."""
Ranges = tuple[tuple[int, int], ...]
"""Rising numbers as ranges of which both ends count, and which do not touch."""
_RANGES = re.compile(r"\d{1,19}-\d{1,19}(,\d{1,19}-\d{1,19})*")
_REASONS = re.compile(r"[a-z][a-z0-9_]{0,63}:\d{1,19}(,[a-z][a-z0-9_]{0,63}:\d{1,19})*")


def packed(text: str) -> str:
    """A text as one word of a line; nothing is a dash, so a text that is one is written otherwise."""
    return "%2D" if text == _NOTHING else quote(text, safe="") or _NOTHING


@dataclass(frozen=True)
class Pruned:
    """Which blocks are without their entries from here on, and what these said. It stands for all such statements
    before it in its chain, so the newest says it all.

    Attributes:
        camera: whose chain it is.
        blocks: numbers of the blocks.
        segments: numbers of the segments whose leaves and tombstones are dropped; all of them were deleted.
        reasons: how many of them by each reason, in the order of the reasons' names.
        first_us: earliest capture time in them, microseconds since 1970.
        last_us: latest capture time in them.
        at_us: when, microseconds since 1970.
    """

    camera: str
    blocks: Ranges
    segments: Ranges
    reasons: tuple[tuple[str, int], ...]
    first_us: int
    last_us: int
    at_us: int

    def line(self) -> bytes:
        """The statement as the chain has it, without the line's end."""
        reasons = ",".join(f"{reason}:{count}" for reason, count in self.reasons)
        times = map(str, (self.first_us, self.last_us, self.at_us))
        return " ".join((PRUNED, self.camera, _text(self.blocks), _text(self.segments), reasons, *times)).encode()

    def hash(self) -> bytes:
        """Its hash in a block's Merkle tree."""
        return merkle.leaf_hash(self.line())

    def drops(self, block: int) -> bool:
        """Whether a block may be without its entries."""
        return _has(self.blocks, block)

    def covers(self, segment: int) -> bool:
        """Whether it says that a segment was deleted."""
        return _has(self.segments, segment)

    @staticmethod
    def of(words: list[str]) -> Pruned:
        """Reads the words behind the first of what ``line`` wrote.

        Raises:
            ProofError: they are something else.
        """
        try:
            camera, blocks, segments, reasons, *times = words
            check_camera_name(camera)
            first_us, last_us, at_us = map(int, times)
            if _REASONS.fullmatch(reasons) is None or not all(0 <= at <= MOST_US for at in (first_us, last_us, at_us)):
                raise ValueError
            parted = (each.split(":") for each in reasons.split(","))
            counted = tuple((name, int(count)) for name, count in parted)
            if [name for name, _ in counted] != sorted({name for name, _ in counted}):
                raise ValueError
            return Pruned(camera, _ranges(blocks), _ranges(segments), counted, first_us, last_us, at_us)
        except (ValueError, ConfigError):
            raise ProofError(f"these words say nothing of dropped entries: {' '.join(words)[:200]!r}") from None


@dataclass(frozen=True)
class EdgeKey:
    """The public key that an edge seals a camera's records with, from here on.

    Attributes:
        camera: whose.
        key: 32 bytes.
        at_us: when it was met or accepted, microseconds since 1970.
        by: who accepted it; empty for the first key of a camera, which is trusted as it is met.
        reason: why it took the place of the one before; empty for the first.
    """

    camera: str
    key: bytes
    at_us: int
    by: str = ""
    reason: str = ""

    @property
    def first_use(self) -> bool:
        """Whether nobody accepted it."""
        return not self.by

    def line(self) -> bytes:
        """The statement as the chain has it, without the line's end."""
        texts = (packed(text) for text in (self.by, self.reason))
        return " ".join((EDGE_KEY, self.camera, self.key.hex(), str(self.at_us), *texts)).encode()

    def hash(self) -> bytes:
        """Its hash in a block's Merkle tree."""
        return merkle.leaf_hash(self.line())

    @staticmethod
    def of(words: list[str]) -> EdgeKey:
        """Reads the words behind the first of what ``line`` wrote.

        Raises:
            ProofError: they are something else.
        """
        try:
            camera, key, at_us, *texts = words
            check_camera_name(camera)
            by, reason = ("" if text == _NOTHING else unquote(text, errors="strict") for text in texts)
            found = EdgeKey(camera, bytes.fromhex(key), int(at_us), by, reason)
        except (ValueError, ConfigError):
            found = None
        right = found is not None and len(found.key) == PUBLIC_KEY_BYTES and 0 <= found.at_us <= MOST_US
        if found is None or not right or (not found.by) != (not found.reason):
            raise ProofError(f"these words say nothing of an edge's key: {' '.join(words)[:200]!r}")
        return found


def ranges_of(numbers: Iterable[int]) -> Ranges:
    """Numbers in any order, each any number of times, as ranges."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and number <= found[-1][1] + 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return tuple(found)


def _text(ranges: Ranges) -> str:
    return ",".join(f"{first}-{last}" for first, last in ranges)


def _ranges(text: str) -> Ranges:
    """Reads what ``_text`` wrote.

    Raises:
        ValueError: it is something else.
    """
    if _RANGES.fullmatch(text) is None:
        raise ValueError
    found: list[tuple[int, int]] = []
    for part in text.split(","):
        first, last = map(int, part.split("-"))
        if not (found[-1][1] + 1 if found else -1) < first <= last <= MOST:
            raise ValueError
        found.append((first, last))
    return tuple(found)


def _has(ranges: Ranges, number: int) -> bool:
    index = bisect_right(ranges, (number, MOST)) - 1
    return index >= 0 and number <= ranges[index][1]
