"""Seals: an edge's signatures over the records that it sent, as they stand in the cloud's segments.

A seal is over the Merkle tree of some packed records, so that those of one segment can be shown to be sealed when the
segments around it, which hold the others, are gone: a *part* brings the hashes that are missing. What is signed is one
line of ASCII::

    icm-seal-1 <camera> <epoch> <sequences> <sealed us> <root> <public key>

and a part, as the cloud keeps it, is another::

    icm-sealed-1 <the words of the seal> <signature> <segment> <first> <count> <hashes>

``first`` is the place of the part's first record among those that are sealed, from 0 on, ``count`` how many of them it
has, ``hashes`` what leads to the root, apart by commas, ``-`` for none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from icm.camera_name import check_camera_name
from icm.errors import ConfigError, ProofError
from icm.proof import merkle
from icm.proof.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SigningKey, signed_by
from icm.proof.statements import MOST

SEAL = "icm-seal-1"
PART = "icm-sealed-1"
MOST_RECORDS = 512
"""Of a seal."""
_SEQUENCES = re.compile(r"\d{1,10}-\d{1,10}(,\d{1,10}-\d{1,10})*")
_NONE = "-"


def record_hash(header: bytes, packed: bytes) -> bytes:
    """The hash of a record in a seal's tree.

    Args:
        header: the packed stream header that it was sent under; it says what capture times count from.
        packed: the record.
    """
    return merkle.leaf_hash(header + packed)


@dataclass(frozen=True)
class Seal:
    """An edge's signature over records.

    Attributes:
        camera: whose records they are.
        epoch: of all of them.
        sequences: of all of them, in order.
        sealed_us: the edge's clock when it signed, microseconds since 1970.
        root: of the Merkle tree over ``record_hash`` of each, 32 bytes.
        key: the edge's public key, 32 bytes.
        signature: 64 bytes.
    """

    camera: str
    epoch: int
    sequences: tuple[int, ...]
    sealed_us: int
    root: bytes
    key: bytes
    signature: bytes = b""

    def text(self) -> bytes:
        """What is signed."""
        return " ".join((SEAL, *self.words())).encode()

    def words(self) -> list[str]:
        """The words of a line that say what is sealed."""
        numbers = (str(self.epoch), _ranges(self.sequences), str(self.sealed_us))
        return [self.camera, *numbers, self.root.hex(), self.key.hex()]

    def holds(self) -> bool:
        """Whether the signature is by the key that the seal names."""
        return signed_by(self.key, self.text(), self.signature)


def make_seal(*, camera: str, epoch: int, records: Mapping[int, bytes], sealed_us: int, key: SigningKey) -> Seal:
    """Seals records.

    Args:
        records: ``record_hash`` of each, by sequence, in order; one at least, ``MOST_RECORDS`` at most.
        sealed_us: the edge's clock, microseconds since 1970.
    """
    unsigned = Seal(camera, epoch, tuple(records), sealed_us, merkle.root_of(list(records.values())), key.public)
    return Seal(**{**vars(unsigned), "signature": key.sign(unsigned.text())})


@dataclass(frozen=True)
class SealedPart:
    """Those of a seal's records that lie in one segment, one after the other.

    Attributes:
        seal: over these and others.
        segment: the segment's number.
        first: place of the first of them among the seal's records, from 0 on.
        count: how many they are.
        hashes: that lead from theirs to the root.
    """

    seal: Seal
    segment: int
    first: int
    count: int
    hashes: tuple[bytes, ...]

    @property
    def sequences(self) -> tuple[int, ...]:
        """Of the part's records."""
        return self.seal.sequences[self.first : self.first + self.count]

    def line(self) -> bytes:
        """The part as the cloud keeps it, without the line's end."""
        numbers = map(str, (self.segment, self.first, self.count))
        hashes = ",".join(each.hex() for each in self.hashes) or _NONE
        return " ".join((PART, *self.seal.words(), self.seal.signature.hex(), *numbers, hashes)).encode()

    @staticmethod
    def of(line: bytes) -> SealedPart:
        """Reads what ``line`` wrote.

        Raises:
            ProofError: it is something else.
        """
        try:
            tag, camera, epoch, ranges, sealed_us, root, key, signature, segment, first, count, hashes = (
                line.decode("ascii").split(" ")
            )  # fmt: skip
            check_camera_name(camera)
            seal = Seal(
                camera, int(epoch), _sequences(ranges), int(sealed_us), bytes.fromhex(root), bytes.fromhex(key),
                bytes.fromhex(signature),
            )  # fmt: skip
            found = tuple(bytes.fromhex(each) for each in hashes.split(",")) if hashes != _NONE else ()
            part = SealedPart(seal, int(segment), int(first), int(count), found)
        except (ValueError, ConfigError):
            raise ProofError(f"this line is no sealed part: {line[:200]!r}") from None
        sizes = (len(seal.root), len(seal.key), len(seal.signature))
        right = sizes == (merkle.HASH_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES)
        right = right and 0 <= part.segment <= MOST and 0 <= part.first < part.first + part.count <= len(seal.sequences)
        if tag != PART or not right or part.line() != line:
            raise ProofError(f"this line is no sealed part: {line[:200]!r}")
        return part

    def check(self, records: Mapping[int, bytes]) -> None:
        """Checks that the part's records are what the edge sealed.

        Args:
            records: ``record_hash`` of each that the segment holds, by sequence.

        Raises:
            ProofError: they are not.
        """
        name = f"the seal over records {_ranges(self.sequences)} of camera {self.seal.camera}"
        missing = [sequence for sequence in self.sequences if sequence not in records]
        if missing:
            raise ProofError(f"{name} is over record {missing[0]}, which is not in segment {self.segment}")
        inner = [records[sequence] for sequence in self.sequences]
        if root_of_part(inner, self.first, len(self.seal.sequences), self.hashes) != self.seal.root:
            raise ProofError(f"{name} is over other bytes than segment {self.segment} holds")
        if not self.seal.holds():
            raise ProofError(f"the signature of {name} does not hold")


def part_of(seal: Seal, records: Sequence[bytes], segment: int, first: int, count: int) -> SealedPart:
    """The part of a seal that lies in a segment.

    Args:
        records: ``record_hash`` of all that are sealed, in order.
        segment: the segment's number.
        first: place of the part's first record.
        count: how many it has.
    """
    hashes: list[bytes] = []

    def collect(low: int, high: int) -> None:
        if high <= first or low >= first + count:
            hashes.append(merkle.root_of(records[low:high]))
        elif not (first <= low and high <= first + count):
            middle = low + _split(high - low)
            collect(low, middle)
            collect(middle, high)

    collect(0, len(records))
    return SealedPart(seal, segment, first, count, tuple(hashes))


def root_of_part(inner: Sequence[bytes], first: int, total: int, hashes: Sequence[bytes]) -> bytes | None:
    """The root of a tree of which some neighbouring leaves are at hand; None if the hashes are not as many as it takes.

    Args:
        inner: the hashes of these leaves.
        first: place of the first of them, from 0 on.
        total: how many leaves the tree has.
        hashes: those of the subtrees beside them, from left to right, as ``part_of`` has them.
    """
    waiting = list(reversed(hashes))

    def root(low: int, high: int) -> bytes:
        if high <= first or low >= first + len(inner):
            return waiting.pop()
        if first <= low and high <= first + len(inner):
            return merkle.root_of(inner[low - first : high - first])
        middle = low + _split(high - low)
        return merkle.node_hash(root(low, middle), root(middle, high))

    try:
        found = root(0, total)
    except IndexError:
        return None
    return found if not waiting else None


def _split(count: int) -> int:
    """How many of so many leaves are below the left of two nodes: the largest power of two that is less."""
    return 1 << (count - 1).bit_length() - 1


def _ranges(sequences: Sequence[int]) -> str:
    """Rising sequences as ranges such as ``1-5,7-7``."""
    runs: list[list[int]] = []
    for sequence in sequences:
        if runs and sequence == runs[-1][1] + 1:
            runs[-1][1] = sequence
        else:
            runs.append([sequence, sequence])
    return ",".join(f"{first}-{last}" for first, last in runs)


def _sequences(text: str) -> tuple[int, ...]:
    """Reads what ``_ranges`` wrote.

    Raises:
        ValueError: it is something else, or more than a seal may have.
    """
    if _SEQUENCES.fullmatch(text) is None:
        raise ValueError
    found: list[int] = []
    for part in text.split(","):
        first, last = map(int, part.split("-"))
        if last - first >= MOST_RECORDS - len(found) or (found and first <= found[-1]):
            raise ValueError
        found.extend(range(first, last + 1))
    return tuple(found)
