"""Compares a camera's chain with its files, and with what the database says of them. Changes nothing.

The chain is read twice, a block at a time, so that years of it need little memory: once to check every link and to
collect what was deleted, and once to look at each segment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from cloud_service.proof.chain_file import ChainFile, PlacedLink
from cloud_service.proof.segment_files import Noted, SegmentFile, noted_deletions, segment_files
from cloud_service.seals.checking import SealCheck
from cloud_service.store.sequences import SequenceSet
from icm.errors import ProofError
from icm.proof.chain import Head, Link
from icm.proof.entries import Leaf, SegmentFacts, Tombstone
from icm.proof.statements import EdgeKey, Pruned

_HOUR_US = 3_600_000_000
WAITING_US = _HOUR_US + 600_000_000
"""How long after a deletion its tombstone may wait for its block, and be signed without a word."""
_CHUNK = 1 << 20


class Status(StrEnum):
    """What became of a segment."""

    OK = "ok"
    TOMBSTONE = "tombstone"
    """Deleted, and the chain says why."""
    MISSING = "MISSING"
    """The chain says that it is there, and it is not."""
    ALTERED = "ALTERED"
    """Its file is not what was sealed."""
    ADDED = "ADDED"
    """Its file is there, and the chain knows nothing of it."""
    OPEN = "open"
    """It grows still, or it, or its deletion, waits for its block."""


GOOD = (Status.OK, Status.TOMBSTONE, Status.OPEN)


class Verdict(NamedTuple):
    """What became of a segment.

    Attributes:
        number: the segment's.
        status: in one word.
        detail: for a tombstone its reason; else what is wrong or worth a word, for a person.
        path: of its file, relative to the records' folder; empty if there is none.
        size: bytes of the file that were hashed.
        records: how many it holds; 0 where nobody looked whether they are sealed.
        sealed: how many of them an edge has sealed.
    """

    number: int
    status: Status
    detail: str = ""
    path: str = ""
    size: int = 0
    records: int = 0
    sealed: int = 0


class DatabaseView(Protocol):
    """What a database says, where there is one."""

    def facts(self, camera: str, numbers: SequenceSet) -> Mapping[int, SegmentFacts | None]:
        """Of the segments that it knows among these; None for one whose file it found damaged."""
        ...

    def head(self, camera: str) -> Head | None:
        """The newest head of a camera's chain that it knows."""
        ...

    def deleted(self, camera: str, number: int) -> Noted | None:
        """What a segment's tombstone says, if it has one."""
        ...


class _Buried(NamedTuple):
    """A tombstone: its reason, what was known of the segment, and how long after the deletion it was signed."""

    reason: str
    facts: int
    after_us: int


class CameraCheck:
    """One camera of a store.

    Attributes:
        broken: what does not hold of its chain, the first first.
        head: the newest of its chain.
        blocks: how many there are.
        pruned: what its chain says of entries that were dropped; None for nothing.
        edge_keys: that its chain names, the newest last.
    """

    def __init__(
        self,
        *,
        records: Path,
        chains: Path,
        camera: str,
        now_us: int,
        database: DatabaseView | None = None,
        key: bytes | None = None,
        witnesses: Sequence[Head] = (),
        deep: bool = False,
        seals: SealCheck | None = None,
    ) -> None:
        """Creates the check of one camera.

        Args:
            records: the folder of segments.
            chains: the folder of chains.
            now_us: the time, microseconds since 1970: of what was deleted in the last hour no tombstone may be chained.
            database: None: there is none to compare with.
            key: that heads must be signed with; None: that of the first head.
            witnesses: heads that others have seen; the chain must hold each.
            deep: whether files are read and hashed.
            seals: looks at the edge's seals over what is read; None: nobody does.
        """
        self._records, self._file, self._camera = records, ChainFile(chains, camera), camera
        self._now_us = now_us
        self._database, self._key, self._deep, self._seals = database, key, deep, seals
        self._witnessed = {head.block: head for head in witnesses if head.camera == camera}
        self.broken: list[str] = []
        self.head: Head | None = None
        self.blocks = 0
        self.pruned: Pruned | None = None
        self.edge_keys: list[EdgeKey] = []
        self._bare: list[int] = []
        self._end = 0
        self._buried: dict[int, _Buried] = {}
        self._leaves = SequenceSet()
        self._again: dict[int, SegmentFacts] = {}
        self._damage: list[str] = []

    def verdicts(self, from_us: int, until_us: int) -> Iterator[Verdict]:
        """Checks the whole chain, and then the segments that have a frame of a range of time.

        Args:
            from_us: first capture time, microseconds since 1970.
            until_us: last capture time.

        Raises:
            OSError: a folder or the chain cannot be read.
            SQLAlchemyError: the database does not answer.
        """
        files, twice, missing = dict[int, SegmentFile](), list[tuple[int, SegmentFile]](), list[Verdict]()
        again: set[int] = set()
        # One that is pruned meanwhile becomes another file, which says the same.
        with self._file.open() as chain:
            self._check_chain(chain)
            files, twice = segment_files(self._records, self._camera)
            for link in self._sound_links(chain):
                for verdict in self._of_block(link, files, again, from_us, until_us):
                    if verdict.status is Status.MISSING:
                        missing.append(verdict)
                    else:
                        yield verdict
        yield from self._missing(missing)
        for number, file in sorted([*files.items(), *twice]):
            yield self._without_leaf(number, file)

    def _check_chain(self, chain: BinaryIO) -> None:
        for placed in self._file.links(0, self._damage, chain):
            self._take(placed)
        self.broken += self._damage
        for block in self._bare:
            if self.pruned is None or not self.pruned.drops(block):
                self.broken.append(
                    f"the entries of block {block} of camera {self._camera} are not there, and no later block says that"
                    " they were dropped"
                )
        known = self._database.head(self._camera) if self._database is not None else None
        if known is not None and known.block > (self.head.block if self.head is not None else 0):
            self.broken.append(
                f"the chain of camera {self._camera} was cut: the database has seen block {known.block}, the last is"
                f" {self.head.block if self.head is not None else 'none'}"
            )
        for block in sorted(self._witnessed):
            self.broken.append(f"block {block} of camera {self._camera}, which an edge has witnessed, is not there")

    def _take(self, placed: PlacedLink) -> None:
        link, head = placed.link, placed.link.head
        try:
            link.check_follows(self.head)
        except ProofError as error:
            self.broken.append(str(error))
        if self._key is not None and head.key != self._key and (self.head is None or self.head.key != head.key):
            self.broken.append(f"{link.block.name} is signed with another key ({head.key.hex()}) than it should be")
        if _soundness(link) is not None:
            self.broken.append(str(_soundness(link)))
        else:
            self._collect(link)
        witness = self._witnessed.pop(link.block.number, None)
        if witness is not None and (witness.hash, witness.key) != (head.hash, head.key):
            self.broken.append(f"{link.block.name} is not the one that an edge has witnessed")
        self.head, self._end = head, placed.end
        self.blocks += 1

    def _collect(self, link: Link) -> None:
        if link.pruned:
            self._bare.append(link.block.number)
        for entry in link.entries:
            if isinstance(entry, Pruned):
                self.pruned = entry
                continue
            if isinstance(entry, EdgeKey):
                self._take_key(entry)
                continue
            number = entry.facts.number
            if isinstance(entry, Tombstone):
                late = link.head.signed_us - entry.at_us
                self._buried.setdefault(number, _Buried(entry.reason, hash(entry.facts), late))
            elif number in self._leaves:
                self._again[number] = entry.facts
            else:
                self._leaves.add(number)

    def _take_key(self, entry: EdgeKey) -> None:
        if self.edge_keys and entry.first_use:
            self.broken.append(
                f"the edge's key of camera {self._camera} changed to {entry.key.hex()}, and the chain does not say who"
                " accepted that, and why"
            )
        self.edge_keys.append(entry)
        if self._seals is not None:
            self._seals.chained = self.edge_keys

    def _sound_links(self, chain: BinaryIO) -> Iterator[Link]:
        """The blocks that were there at the first look, without those that do not hold."""
        for placed in self._file.links(0, [], chain):
            if placed.offset >= self._end:
                return
            if _soundness(placed.link) is None:
                yield placed.link

    def _of_block(
        self, link: Link, files: dict[int, SegmentFile], again: set[int], from_us: int, until_us: int
    ) -> Iterator[Verdict]:
        """The verdicts on the segments whose first leaf is in a block.

        Args:
            files: by number; those of the block's segments are taken out.
            again: segments with several leaves that had their first; the block's are added.
        """
        leaves = [entry.facts for entry in link.entries if isinstance(entry, Leaf)]
        numbers = SequenceSet(
            (of.number, of.number) for of in leaves if of.first_capture_us <= until_us and of.last_capture_us >= from_us
        )
        known = self._database.facts(self._camera, numbers) if self._database is not None else {}
        for of in leaves:
            if of.number in self._again:
                if of.number in again:
                    continue
                again.add(of.number)
            file = files.pop(of.number, None)
            if of.number in numbers:
                yield self._judged(of, file, known)

    def _judged(
        self, facts: SegmentFacts, file: SegmentFile | None, known: Mapping[int, SegmentFacts | None]
    ) -> Verdict:
        number = facts.number
        now = self._again.get(number, facts)
        buried = self._buried.get(number)
        if buried is not None:
            return self._of_tombstone(buried, now, file)
        if file is None:
            return Verdict(number, Status.MISSING, "its file is not there")
        wrong, size = self._wrong(facts, now, file)
        if not wrong and number in known:
            row = known[number]
            if row is None:
                wrong = "the cloud found it damaged"
            elif now.sha256 and row.sha256 and row != now:
                wrong = f"the database says something else: sha256 {row.sha256.hex()}, {row.size} bytes"
        if wrong:
            return Verdict(number, Status.ALTERED, wrong, file.path, size)
        note = "" if now is facts else f"grew after it was sealed, from {facts.size} bytes, as the chain says"
        if self._seals is None or not self._deep:
            return Verdict(number, Status.OK, note, file.path, size)
        seals = self._seals.of(number, file.path)
        if seals.wrong:
            return Verdict(number, Status.ALTERED, seals.wrong, file.path, size)
        return Verdict(number, Status.OK, note, file.path, size, seals.records, seals.sealed)

    def _of_tombstone(self, buried: _Buried, facts: SegmentFacts, file: SegmentFile | None) -> Verdict:
        # Where nobody had a digest then, the other words say which one it was.
        if buried.facts not in (hash(facts), hash(replace(facts, sha256=b""))):
            return Verdict(facts.number, Status.ALTERED, "its tombstone is about another segment")
        notes = [buried.reason]
        if file is not None:
            if wrong := self._wrong(facts, facts, file)[0]:
                detail = f"another file lies under the number of a deleted one: {wrong}"
                return Verdict(facts.number, Status.ADDED, detail, file.path)
            notes.append("its file is still there")
        if buried.after_us > WAITING_US:
            notes.append(f"noted {buried.after_us // _HOUR_US} h after it says that it was deleted")
        return Verdict(facts.number, Status.TOMBSTONE, "; ".join(notes), file.path if file is not None else "")

    def _wrong(self, sealed: SegmentFacts, now: SegmentFacts, file: SegmentFile) -> tuple[str, int]:
        """What is wrong with a file, and how many of its bytes were hashed.

        Args:
            sealed: what its first leaf says.
            now: what its last one does.
        """
        if now.size < sealed.size or (now.size == sealed.size and now != sealed):
            return "the cloud itself found it changed, and noted that", 0
        if file.size != now.size:
            return f"it has {file.size} bytes, and {now.size} were sealed", 0
        if not self._deep or not now.sha256:
            return "", 0
        try:
            digest, first = _digests(self._records / file.path, sealed.size)
        except OSError as error:
            return f"it cannot be read: {error.strerror}", 0
        if digest != now.sha256:
            return f"its sha256 is {digest.hex()}, and was {now.sha256.hex()}", file.size
        if first != sealed.sha256:
            return f"its first {sealed.size} bytes are not those that were sealed", file.size
        return "", file.size

    def _missing(self, missing: Sequence[Verdict]) -> Iterator[Verdict]:
        """Looks again at what is missing: a service that lives may have deleted it meanwhile."""
        known = self.head.block if self.head is not None else 0
        for placed in self._file.links(0, []) if missing else ():
            if placed.link.block.number > known and _soundness(placed.link) is None:
                self._collect(placed.link)
        recent_us = self._now_us - WAITING_US
        notes: dict[int, Noted] = {}
        if missing and self._database is None:
            notes = noted_deletions(self._records, self._camera, recent_us)
        for verdict in missing:
            number = verdict.number
            if (buried := self._buried.get(number)) is not None:
                yield Verdict(number, Status.TOMBSTONE, buried.reason)
                continue
            noted = notes.get(number) if self._database is None else self._database.deleted(self._camera, number)
            if noted is None:
                yield verdict
            elif recent_us <= noted.at_us <= self._now_us:
                yield Verdict(number, Status.OPEN, f"deleted ({noted.reason}), and waits for its block")
            else:
                claim = f"; the database says that it was deleted ({noted.reason}), the chain does not"
                yield verdict._replace(detail=verdict.detail + claim)

    def _without_leaf(self, number: int, file: SegmentFile) -> Verdict:
        if self.pruned is not None and self.pruned.covers(number):
            return Verdict(number, Status.ADDED, "a segment of this number was deleted", file.path)
        if number in self._leaves:
            return Verdict(number, Status.ADDED, "there are two files of this number", file.path)
        if number > self._leaves.last:
            return Verdict(number, Status.OPEN, "", file.path)
        return Verdict(number, Status.ADDED, "the chain knows nothing of it", file.path)


def _soundness(link: Link) -> ProofError | None:
    try:
        link.check_sound()
    except ProofError as error:
        return error
    return None


def _digests(path: Path, size: int) -> tuple[bytes, bytes]:
    """SHA-256 of a file, and of its first ``size`` bytes.

    Raises:
        OSError: it cannot be read.
    """
    digest, first, place = hashlib.sha256(), b"", 0
    with path.open("rb") as file:
        while True:
            chunk = file.read(min(_CHUNK, size - place) if place < size else _CHUNK)
            digest.update(chunk)
            place += len(chunk)
            if place == size and not first:
                first = digest.digest()
            if not chunk:
                return digest.digest(), first
