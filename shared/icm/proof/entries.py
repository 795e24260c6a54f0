"""Entries of a chain: a leaf for each segment that was sealed, a tombstone for each that was deleted, statements.

Each is one line of ASCII, its words apart by single spaces, and is hashed as it stands there: a person can read it and
compare the file's digest with what ``sha256sum`` says. There is one way only to write an entry, so equal entries have
equal hashes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

from icm.camera_name import check_camera_name
from icm.errors import ConfigError, ProofError
from icm.proof import merkle
from icm.proof.statements import EDGE_KEY, MOST, MOST_US, PRUNED, EdgeKey, Pruned, packed

LEAF = "icm-leaf-1"
TOMBSTONE = "icm-tombstone-1"
_SEQUENCES = re.compile(r"\d+-\d+(,\d+-\d+)*")
_REASON = re.compile(r"[a-z][a-z0-9_]{0,63}")
_UNKNOWN = "-"


class Origin(StrEnum):
    """How the cloud came to know what a leaf says."""

    SEALED = "sealed"
    """The digest was computed as the records were appended."""
    FOUND = "found"
    """The digest is of the file as it was found later: at a start after a crash, or at the first start of a release
    that keeps a chain."""
    CHANGED = "changed"
    """The segment had a leaf before, and a start of the cloud found its file changed: this is what it holds since."""


@dataclass(frozen=True)
class SegmentFacts:
    """What a chain says of a segment.

    Attributes:
        camera: its name.
        number: position in the camera's log, from 1 on.
        epoch: of all its records.
        size: of its file, in bytes.
        records: how many it holds.
        sequences: of its records, as ranges such as ``1-5,7-7``.
        first_capture_us: earliest capture time, microseconds since 1970.
        last_capture_us: latest capture time, microseconds since 1970.
        sha256: of its file, 32 bytes; empty if nobody has looked, as of one that was deleted before it had a leaf.
    """

    camera: str
    number: int
    epoch: int
    size: int
    records: int
    sequences: str
    first_capture_us: int
    last_capture_us: int
    sha256: bytes

    def words(self) -> list[str]:
        """The words of an entry's line that these are."""
        numbers = (self.number, self.epoch, self.size, self.records)
        times = (self.first_capture_us, self.last_capture_us)
        digest = self.sha256.hex() or _UNKNOWN
        return [self.camera, *map(str, numbers), self.sequences or _UNKNOWN, *map(str, times), digest]

    @staticmethod
    def of(words: list[str]) -> SegmentFacts:
        """Reads what ``words`` wrote.

        Raises:
            ProofError: it is something else.
        """
        try:
            camera, number, epoch, size, records, sequences, first_us, last_us, digest = words
            check_camera_name(camera)
            sequences = "" if sequences == _UNKNOWN else sequences
            sha256 = b"" if digest == _UNKNOWN else bytes.fromhex(digest)
            facts = SegmentFacts(
                camera, int(number), int(epoch), int(size), int(records), sequences, int(first_us), int(last_us), sha256
            )
        except (ValueError, ConfigError):
            raise ProofError(f"these words say nothing of a segment: {' '.join(words)[:200]!r}") from None
        fields = (facts.number - 1, facts.epoch, facts.size, facts.records)
        small = all(0 <= value <= MOST for value in fields)
        small = small and all(0 <= at <= MOST_US for at in (facts.first_capture_us, facts.last_capture_us))
        right = small and len(sha256) in (0, merkle.HASH_BYTES) and (not sequences or _SEQUENCES.fullmatch(sequences))
        if not right or facts.words() != words:
            raise ProofError(f"these words say nothing of a segment: {' '.join(words)[:200]!r}")
        return facts


@dataclass(frozen=True)
class Leaf:
    """A segment that was sealed.

    Attributes:
        facts: what is known of it.
        origin: how.
    """

    facts: SegmentFacts
    origin: Origin

    @property
    def camera(self) -> str:
        """Whose chain it is in."""
        return self.facts.camera

    def line(self) -> bytes:
        """The leaf as the chain has it, without the line's end."""
        return " ".join((LEAF, *self.facts.words(), self.origin)).encode()

    def hash(self) -> bytes:
        """Its hash in a block's Merkle tree."""
        return merkle.leaf_hash(self.line())


@dataclass(frozen=True)
class Tombstone:
    """A segment that was deleted.

    Attributes:
        facts: what was known of it.
        reason: the rule's kind, such as ``max_age``.
        at_us: when, microseconds since 1970.
        by: who deleted it, for a person.
        rule: the very rule, for a person.
    """

    facts: SegmentFacts
    reason: str
    at_us: int
    by: str
    rule: str

    @property
    def camera(self) -> str:
        """Whose chain it is in."""
        return self.facts.camera

    def line(self) -> bytes:
        """The tombstone as the chain has it, without the line's end."""
        texts = (packed(text) for text in (self.by, self.rule))
        return " ".join((TOMBSTONE, *self.facts.words(), self.reason, str(self.at_us), *texts)).encode()

    def hash(self) -> bytes:
        """Its hash in a block's Merkle tree."""
        return merkle.leaf_hash(self.line())


OfSegment = Leaf | Tombstone
"""What became of one segment."""
Statement = Pruned | EdgeKey
Entry = OfSegment | Statement
_WORDS = 9
"""Of ``SegmentFacts``."""


def _is_time(word: str) -> bool:
    return word.isdecimal() and len(word) <= len(str(MOST_US)) and int(word) <= MOST_US


def entry_of(line: bytes) -> Entry:
    """Reads an entry, without its line's end.

    Raises:
        ProofError: the line is none.
    """
    try:
        tag, *words = line.decode("ascii").split(" ")
    except UnicodeDecodeError:
        tag, words = "", []
    facts, rest = words[:_WORDS], words[_WORDS:]
    entry: Entry | None = None
    if tag == LEAF and len(rest) == 1 and rest[0] in set(Origin):
        entry = Leaf(SegmentFacts.of(facts), Origin(rest[0]))
    elif tag == TOMBSTONE and len(rest) == 4 and _REASON.fullmatch(rest[0]) and _is_time(rest[1]):
        by, rule = ("" if text == _UNKNOWN else unquote(text) for text in rest[2:])
        entry = Tombstone(SegmentFacts.of(facts), rest[0], int(rest[1]), by, rule)
    elif tag == PRUNED:
        entry = Pruned.of(words)
    elif tag == EDGE_KEY:
        entry = EdgeKey.of(words)
    if entry is None or entry.line() != line:
        raise ProofError(f"this line is no entry of a chain: {line[:200]!r}")
    return entry
