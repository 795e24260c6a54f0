"""Blocks of a camera's chain, and the signed heads that stand for all of it up to a block.

A block is written as lines of ASCII, each ended by a line feed::

    icm-block-1 <store> <camera> <block> <entries> <first number> <last number> <first us> <last us> <root> <previous>
    <entry>                                                            as many as the block line says
    icm-head-1 <store> <camera> <block> <signed us> <hash> <public key> <signature>

``root`` is that of the Merkle tree over the entries, ``previous`` the hash in the head before, or zeros in the first
block, which is block 1. A head's hash is SHA-256 of the block line, so it stands for all that came before; the
signature is over the head line up to the space before the signature. Hashes, keys and signatures are hexadecimal.

A block may lack all its entries, as those that are pruned do: the lines that are left still follow each other, and
whoever wants to know that the entries went rightly looks for a ``Pruned`` in a later block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from icm.camera_name import check_camera_name
from icm.errors import ConfigError, ProofError
from icm.proof import merkle
from icm.proof.entries import Entry, Leaf, OfSegment, Tombstone, entry_of
from icm.proof.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SigningKey, signed_by
from icm.proof.statements import MOST, MOST_US, EdgeKey, Pruned

BLOCK = "icm-block-1"
HEAD = "icm-head-1"
_HEAD = f"{HEAD} ".encode()
NOTHING_BEFORE = bytes(merkle.HASH_BYTES)
"""In place of the head before the first block."""


@dataclass(frozen=True)
class Head:
    """Stands for a camera's chain up to a block.

    Attributes:
        store: the record store's name.
        camera: whose chain it is.
        block: number of the block, from 1 on.
        signed_us: when, by the cloud's clock, microseconds since 1970.
        hash: SHA-256 of the block line, 32 bytes.
        key: the public key that it is signed with, 32 bytes.
        signature: 64 bytes.
    """

    store: str
    camera: str
    block: int
    signed_us: int
    hash: bytes
    key: bytes
    signature: bytes

    def line(self) -> bytes:
        """The head as the chain has it, without the line's end."""
        return self._signed() + b" " + self.signature.hex().encode()

    def holds(self) -> bool:
        """Whether the signature is by the key that the head names."""
        return signed_by(self.key, self._signed(), self.signature)

    def _signed(self) -> bytes:
        numbers = f"{self.block} {self.signed_us}"
        return f"{HEAD} {self.store} {self.camera} {numbers} {self.hash.hex()} {self.key.hex()}".encode()

    @staticmethod
    def of(line: bytes) -> Head:
        """Reads what ``line`` wrote.

        Raises:
            ProofError: it is something else.
        """
        try:
            tag, store, camera, block, signed_us, digest, key, signature = line.decode("ascii").split(" ")
            check_camera_name(camera)
            head = Head(
                store,
                camera,
                int(block),
                int(signed_us),
                _bytes(digest, merkle.HASH_BYTES),
                _bytes(key, PUBLIC_KEY_BYTES),
                _bytes(signature, SIGNATURE_BYTES),
            )
        except (ValueError, ConfigError):
            raise ProofError(f"this line is no head of a chain: {line[:200]!r}") from None
        if tag != HEAD or not (1 <= head.block <= MOST and 0 <= head.signed_us <= MOST_US) or head.line() != line:
            raise ProofError(f"this line is no head of a chain: {line[:200]!r}")
        return head


@dataclass(frozen=True)
class Block:
    """Entries that were put into a chain together.

    Attributes:
        store: the record store's name.
        camera: whose chain it is.
        number: of the block, from 1 on.
        entries: how many there are.
        first_number: the lowest number of a segment in it; 0 where it is about none.
        last_number: the highest.
        first_us: the earliest capture time in it, microseconds since 1970; of statements when they were made.
        last_us: the latest.
        root: of the Merkle tree over the entries, 32 bytes.
        previous: the hash in the head before, 32 bytes.
    """

    store: str
    camera: str
    number: int
    entries: int
    first_number: int
    last_number: int
    first_us: int
    last_us: int
    root: bytes
    previous: bytes

    def line(self) -> bytes:
        """The block's own line, without its end."""
        numbers = (self.number, self.entries, self.first_number, self.last_number, self.first_us, self.last_us)
        words = (BLOCK, self.store, self.camera, *map(str, numbers), self.root.hex(), self.previous.hex())
        return " ".join(words).encode()

    @property
    def name(self) -> str:
        """For a person."""
        return f"block {self.number} of camera {self.camera}"

    def hash(self) -> bytes:
        """What the block's head signs."""
        return hashlib.sha256(self.line()).digest()

    @staticmethod
    def of(line: bytes) -> Block:
        """Reads what ``line`` wrote.

        Raises:
            ProofError: it is something else.
        """
        try:
            tag, store, camera, *numbers, root, previous = line.decode("ascii").split(" ")
            check_camera_name(camera)
            number, entries, first, last, first_us, last_us = map(int, numbers)
            before, digest = _bytes(previous, merkle.HASH_BYTES), _bytes(root, merkle.HASH_BYTES)
            block = Block(store, camera, number, entries, first, last, first_us, last_us, digest, before)
        except (ValueError, ConfigError):
            raise ProofError(f"this line is no block of a chain: {line[:200]!r}") from None
        small = all(0 <= value <= MOST for value in (number - 1, entries - 1, first, last))
        small = small and all(0 <= at <= MOST_US for at in (first_us, last_us))
        if tag != BLOCK or not small or block.line() != line:
            raise ProofError(f"this line is no block of a chain: {line[:200]!r}")
        return block


@dataclass(frozen=True)
class Link:
    """A block with its entries and its head, as they stand in a chain.

    Attributes:
        block: the block's own line.
        entries: in their order; none where they are pruned.
        head: signed by the cloud.
    """

    block: Block
    entries: tuple[Entry, ...]
    head: Head

    @property
    def pruned(self) -> bool:
        """Whether its entries are gone."""
        return not self.entries

    @property
    def segments(self) -> list[OfSegment]:
        """Those of its entries that are about single segments, in their order."""
        return [entry for entry in self.entries if isinstance(entry, (Leaf, Tombstone))]

    def pack(self) -> bytes:
        """The lines of the chain that this is."""
        lines = (self.block.line(), *(entry.line() for entry in self.entries), self.head.line(), b"")
        return b"\n".join(lines)

    def check(self, previous: Head | None) -> None:
        """Checks that it is sound and follows another.

        Args:
            previous: the head before; None: this is to be the first block.

        Raises:
            ProofError: it does not.
        """
        self.check_follows(previous)
        self.check_sound()

    def check_frame(self, previous: Head | None) -> None:
        """Checks the head, and that it follows another, where the entries are not at hand.

        Args:
            previous: the head before; None: it is not at hand either.

        Raises:
            ProofError: it does not hold.
        """
        if previous is not None:
            self.check_follows(previous)
        _check_head(self.block, self.head)

    def check_follows(self, previous: Head | None) -> None:
        """Checks that it is the one after another, which is signed with the same key.

        Args:
            previous: the head before; None: this is to be the first block.

        Raises:
            ProofError: it is not.
        """
        block, name = self.block, self.block.name
        number, before = (previous.block + 1, previous.hash) if previous is not None else (1, NOTHING_BEFORE)
        if previous is not None and (block.store, block.camera) != (previous.store, previous.camera):
            raise ProofError(f"{name} belongs to another chain: of camera {block.camera} in store {block.store}")
        if block.number != number or block.previous != before:
            raise ProofError(f"{name} does not follow block {number - 1}: blocks are missing, or not in their order")
        if previous is not None and self.head.key != previous.key:
            raise ProofError(f"{name} is signed with another key ({self.head.key.hex()}) than the blocks before it")

    def check_sound(self) -> None:
        """Checks that the entries are what the root was made of, and the head what was signed. Of a pruned one there
        is the head alone to check.

        Raises:
            ProofError: they are not.
        """
        block, name = self.block, self.block.name
        foreign = next((entry for entry in self.entries if entry.camera != block.camera), None)
        if foreign is not None:
            raise ProofError(f"{name} holds an entry of another camera: {foreign.line().decode()}")
        if not self.pruned and merkle.root_of([entry.hash() for entry in self.entries]) != block.root:
            raise ProofError(f"the entries of {name} are not those that its root was made of")
        _check_head(block, self.head)


def make_link(
    *, store: str, camera: str, previous: Head | None, entries: Sequence[Entry], key: SigningKey, now_us: int
) -> Link:
    """The next block of a chain.

    Args:
        previous: the head before; None: this is the first block.
        entries: one at least, all of the camera.
        now_us: the time, microseconds since 1970.
    """
    facts = [entry.facts for entry in entries if isinstance(entry, (Leaf, Tombstone))]
    made = [entry.at_us for entry in entries if isinstance(entry, (Pruned, EdgeKey))]
    block = Block(
        store=store,
        camera=camera,
        number=previous.block + 1 if previous is not None else 1,
        entries=len(entries),
        first_number=min((of.number for of in facts), default=0),
        last_number=max((of.number for of in facts), default=0),
        first_us=min([*(of.first_capture_us for of in facts), *made]),
        last_us=max([*(of.last_capture_us for of in facts), *made]),
        root=merkle.root_of([entry.hash() for entry in entries]),
        previous=previous.hash if previous is not None else NOTHING_BEFORE,
    )
    unsigned = Head(store, camera, block.number, now_us, block.hash(), key.public, b"")
    signature = key.sign(unsigned._signed())
    return Link(block, tuple(entries), Head(store, camera, block.number, now_us, block.hash(), key.public, signature))


def check_inclusion(*, entry: Entry, index: int, path: Sequence[bytes], block: Block, head: Head) -> None:
    """Checks that an entry is in the chain that a head stands for, by the path to its block's root alone.

    Args:
        index: of the entry in the block, from 0 on.
        path: as of ``merkle.path_to``.
        block: which the entry is in, as far as its own line says.
        head: of that block.

    Raises:
        ProofError: it is not.
    """
    name = block.name
    if entry.camera != block.camera:
        raise ProofError(f"an entry of camera {entry.camera} cannot be in {name}")
    if merkle.root_by_path(entry.hash(), index, block.entries, path) != block.root:
        raise ProofError(f"the path does not lead from the entry {entry.line()[:100]!r} to the root of {name}")
    _check_head(block, head)


def _check_head(block: Block, head: Head) -> None:
    if (head.store, head.camera, head.block, head.hash) != (block.store, block.camera, block.number, block.hash()):
        raise ProofError(f"the head of {block.name} is another block's, or the block's line was changed")
    if not head.holds():
        raise ProofError(f"the signature of {block.name} does not hold")


def read_links(lines: Iterator[bytes]) -> Iterator[Link]:
    """The blocks of a chain, as they stand there and unchecked; whole ones only.

    Args:
        lines: with their ends. Nothing after the last whole block is read into one: that is what a crash left.

    Raises:
        ProofError: a line is none that belongs there.
    """
    for first in lines:
        if not first.endswith(b"\n"):
            return
        block = Block.of(first[:-1])
        entries: list[Entry] = []
        last = next(lines, b"")
        while last.endswith(b"\n") and len(entries) < block.entries and not (not entries and last.startswith(_HEAD)):
            entries.append(entry_of(last[:-1]))
            last = next(lines, b"")
        if not last.endswith(b"\n"):
            return
        yield Link(block, tuple(entries), Head.of(last[:-1]))


def _bytes(text: str, count: int) -> bytes:
    found = bytes.fromhex(text)
    if len(found) != count:
        raise ValueError
    return found
