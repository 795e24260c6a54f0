"""Keeps the chains: every segment that is sealed gets its leaf, and every one that is deleted its tombstone.

A block is closed with the UTC hour that its segments are of, with 512 leaves, when an hour has passed, and when the
service stops. Tombstones wait for a block of their own likewise, as one a deletion would cost more than what it says.
What a crash kept out of a block is put into one by the next start; so is what was there before chains.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.database.damage import trouble
from cloud_service.proof.chain_file import FOLDER
from cloud_service.proof.chain_index import ChainIndex, gaps
from cloud_service.proof.chains import Chains
from cloud_service.proof.facts import Leaves, Tombstones, facts_of
from cloud_service.proof.signing import signing_key
from cloud_service.proof.tombstones import Deletion
from cloud_service.store.index import SegmentIndex, State
from cloud_service.store.index.rows import STATE, segment_of
from cloud_service.store.segment import Segment
from cloud_service.store.sequences import SequenceSet
from icm.errors import ProofError, StorageError, storage_error
from icm.proof.chain import Head, Link
from icm.proof.entries import Leaf, Origin, SegmentFacts, Tombstone
from icm.proof.statements import EdgeKey
from icm.service.clock import Clock
from icm.service.health import Problems

log = logging.getLogger(__name__)
MOST_LEAVES = 512
"""Of a block; so many tombstones, too."""
_HOUR_US = 3_600_000_000
_PAGE = 1000
"""Rows of the index that are read together."""
_TICK_SECONDS = 1.0
_RETRY_SECONDS = 5.0
"""After the disk or the database refused."""


class ChainKeeper:
    """Appends to the chains, on a thread of its own. Thread-safe."""

    def __init__(
        self, *, records: Path, chains: Chains, index: ChainIndex, segments: SegmentIndex, clock: Clock,
        problems: Problems,
    ) -> None:  # fmt: skip
        """Creates the keeper of a store's chains.

        Args:
            records: the folder of the segments.
            chains: nobody else appends to them.
        """
        self._records, self._chains, self._index, self._segments = records, chains, index, segments
        self._clock, self._part = clock, problems.part("proof")
        self._lock = threading.RLock()
        self._sealed: deque[Segment] = deque()
        self._leaves: dict[str, Leaves] = {}
        self._tombstones: dict[str, Tombstones] = {}
        self._wake = threading.Event()
        self._stopping = False
        self._to_compare: dict[str, SequenceSet] = {}
        self._behind, self._missed, self._caught_up = True, False, set[str]()
        self._pruned_hour = -1
        self._thread = threading.Thread(target=self._run, name="chain-keeper", daemon=True)

    def sealed(self, segment: Segment) -> None:
        """A segment was sealed; called before its row is written."""
        self._sealed.append(segment)

    def look_at(self, read: Mapping[str, SequenceSet]) -> None:
        """Compares these segments with their leaves with the next ``work``; see ``start``."""
        self._to_compare = {camera: SequenceSet(numbers) for camera, numbers in read.items()}

    def start(self, read: Mapping[str, SequenceSet]) -> None:
        """Begins to work.

        Args:
            read: by camera, numbers of the segments that this start has read from their files, as they may have
                changed.
        """
        self.look_at(read)
        self._thread.start()

    def stop(self) -> None:
        """Puts all that was sealed into blocks, and ends."""
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.work(close=True)

    def work(self, close: bool = False) -> bool:
        """Does what is due, as the keeper's thread does all the time. What the disk or the database refuses is left
        for the next time; returns whether nothing was.

        Args:
            close: whether blocks are closed whatever is in them.
        """
        try:
            if (self._behind or self._missed) and not close:
                self._missed = False
                self._catch_up()
            self._go_on(close)
        except OSError as error:
            self._report(str(storage_error(error, error.filename or self._records.parent)))
        except SQLAlchemyError as error:
            self._report(trouble(error))
        except ProofError as error:
            self._report(str(error))
        else:
            self._part.clear()
            return True
        return False

    def newest(self, camera: str) -> Head | None:
        """The head that stands for all of a camera's chain."""
        return self._chains.state(camera).head

    def is_deleted(self, camera: str, number: int) -> bool:
        """Whether a camera's chain says that a segment was deleted."""
        with self._lock:
            return number in self._chains.state(camera).deleted

    def edge_keys(self, camera: str) -> list[EdgeKey]:
        """The keys of a camera's edge that its chain names, the newest last."""
        with self._lock:
            return list(self._chains.state(camera).edge_keys)

    def add_edge_key(self, entry: EdgeKey) -> None:
        """Puts a key into its camera's chain, on the disk.

        Raises:
            StorageError: the disk refused.
        """
        with self._lock:
            try:
                self._chains.append(entry.camera, [entry])
            except OSError as error:
                raise storage_error(error, error.filename or self._records.parent) from None

    def settle(self, camera: str) -> None:
        """Puts what was sealed and deleted of a camera so far into blocks, without waiting for the hour's end.

        Raises:
            StorageError: the disk refused.
        """
        with self._lock:
            try:
                self._take_sealed()
                self._close(camera)
            except OSError as error:
                raise storage_error(error, self._records.parent) from None

    def links_from(self, camera: str, first: int) -> Iterator[Link]:
        """As of ``Chains.links_from``.

        Raises:
            ProofError: the chain is damaged there.
            StorageError: the disk or the database does not answer.
        """
        try:
            yield from self._chains.links_from(camera, first)
        except OSError as error:
            raise storage_error(error, error.filename or self._records.parent) from None
        except SQLAlchemyError as error:
            raise StorageError(f"cannot look a chain up in the database: {trouble(error)}") from None

    def deleted(self, deletions: Sequence[Deletion]) -> None:
        """Takes deletions up; call it when the transaction that makes them is done, before their files go.

        They come into a block with the hour. A crash before that, or a disk that is too full for a block, holds no
        deletion up, as that would stay so: the tombstones in the database are taken then.
        """
        by_camera: dict[str, list[Tombstone]] = {}
        for each in deletions:
            entry = Tombstone(facts_of(each.segment), each.reason, each.at_us, each.by, each.rule)
            by_camera.setdefault(each.segment.camera, []).append(entry)
        with self._lock:
            try:
                for camera, entries in by_camera.items():
                    self._bury(camera, entries)
            except OSError as error:
                self._missed = True
                self._report(str(storage_error(error, error.filename or self._records.parent)))

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(_TICK_SECONDS if self.work() else _RETRY_SECONDS)

    def _report(self, text: str) -> None:
        if self._part.report(text):
            log.error("cannot go on with the chains, trying again: %s", text)

    def _go_on(self, close: bool) -> None:
        hour = self._clock.now_us() // _HOUR_US
        with self._lock:
            self._take_sealed()
            for camera in [camera for camera, of in self._leaves.items() if close or of.begun_hour != hour]:
                self._close_leaves(camera)
            for camera in [camera for camera, of in self._tombstones.items() if close or of.begun_hour != hour]:
                self._close_tombstones(camera)
            self._chains.note_all()
            if not (close or self._behind or hour == self._pruned_hour):
                self._pruned_hour = hour
                for camera in self._chains.cameras():
                    self._chains.prune(camera)

    def _take_sealed(self) -> None:
        """Adds the leaves of what was sealed; of a camera that is behind only once it is not, so that its leaves come
        in the order of their numbers.
        """
        later: list[Segment] = []
        try:
            while self._sealed:
                segment = self._sealed[0]
                if self._behind and segment.camera not in self._caught_up:
                    later.append(segment)
                elif not self._has_leaf(segment):
                    self._add(Leaf(facts_of(segment), Origin.SEALED), segment.kept_from_us)
                self._sealed.popleft()
        finally:
            self._sealed.extendleft(reversed(later))

    def _has_leaf(self, segment: Segment | SegmentFacts) -> bool:
        pending = self._leaves.get(segment.camera)
        known = self._chains.state(segment.camera).numbers
        return segment.number in known or (pending is not None and segment.number in pending.leaves)

    def _add(self, leaf: Leaf, kept_from_us: int) -> None:
        """Puts a leaf into the camera's next block, and closes the one before if that is full, or of another hour."""
        facts, hour = leaf.facts, kept_from_us // _HOUR_US
        pending = self._leaves.get(facts.camera)
        if pending is not None and (len(pending.leaves) >= MOST_LEAVES or pending.hour != hour):
            self._close_leaves(facts.camera)
            pending = None
        if pending is None:
            pending = self._leaves[facts.camera] = Leaves(hour, self._clock.now_us() // _HOUR_US)
        pending.leaves[facts.number] = leaf

    def _close_leaves(self, camera: str) -> None:
        pending = self._leaves.get(camera)
        if pending is not None:
            self._chains.append(camera, list(pending.leaves.values()))
            del self._leaves[camera]

    def _close_tombstones(self, camera: str) -> None:
        pending = self._tombstones.get(camera)
        if pending is None:
            return
        leaves = self._leaves.get(camera)
        if leaves is not None and not leaves.leaves.keys().isdisjoint(pending.tombstones):
            self._close_leaves(camera)
        while entries := list(pending.tombstones.values())[:MOST_LEAVES]:
            self._chains.append(camera, entries)
            for entry in entries:
                del pending.tombstones[entry.facts.number]
        del self._tombstones[camera]

    def _close(self, camera: str) -> None:
        self._close_leaves(camera)
        self._close_tombstones(camera)

    def _bury(self, camera: str, entries: Sequence[Tombstone]) -> None:
        """Lets tombstones wait for their block, behind the leaves of their segments."""
        self._take_sealed()
        known = self._chains.state(camera).deleted
        pending = self._tombstones.setdefault(camera, Tombstones(self._clock.now_us() // _HOUR_US))
        for entry in entries:
            if entry.facts.number in known or entry.facts.number in pending.tombstones:
                continue
            if not self._has_leaf(entry.facts):
                # It goes before it was noted that it came.
                self._add(Leaf(entry.facts, Origin.FOUND), entry.facts.last_capture_us)
            pending.tombstones[entry.facts.number] = entry
        if not pending.tombstones:
            del self._tombstones[camera]
        elif len(pending.tombstones) >= MOST_LEAVES:
            self._close_tombstones(camera)

    def _catch_up(self) -> None:
        """Notes what the database and the files have, and the chains do not."""
        for camera in sorted({*self._segments.cameras(), *self._chains.cameras()}):
            if self._stopping:
                return
            with self._lock:
                self._bury(camera, self._index.tombstones(camera, self._chains.state(camera).deleted))
                self._close_tombstones(camera)
            self._find_leaves(camera)
            if self._stopping:
                return
            self._caught_up.add(camera)
            if camera in self._to_compare:
                self._compare(camera, self._to_compare[camera])
                del self._to_compare[camera]
        self._behind = False

    def _find_leaves(self, camera: str) -> None:
        """Gives leaves to segments that have none: of before a crash, or of before there were chains."""
        state = self._chains.state(camera)
        known = SequenceSet([*state.numbers, *state.deleted])
        for segment in self._rows(camera, known):
            found = segment if segment.sha256 else self._with_digest(segment)
            if found is None:
                continue
            with self._lock:
                self._take_sealed()
                waiting = any((each.camera, each.number) == (camera, found.number) for each in self._sealed)
                gone = found.number in self._chains.state(camera).deleted
                if not (waiting or gone or self._has_leaf(found)):
                    self._add(Leaf(facts_of(found), Origin.FOUND), found.kept_from_us)
            if self._stopping:
                break

    def _rows(self, camera: str, without: SequenceSet) -> Iterator[Segment]:
        """A camera's segments in the index, but for these numbers and those that are gone."""
        for first, last in gaps(without):
            while first <= last and (rows := self._segments.following(camera, first, _PAGE)):
                found = [segment_of(row) for row in rows if row.number <= last]
                yield from (segment for segment in found if segment is not None)
                first = rows[-1].number + 1

    def _with_digest(self, segment: Segment) -> Segment | None:
        """A segment from before rows had digests, with that of its file; None if it is not what its row says."""
        path = self._records / segment.path
        try:
            data = path.read_bytes()
        except OSError as error:
            log.warning("%s: no leaf for it: %s", path, error.strerror)
            return None
        if len(data) < segment.size:
            log.warning("%s: no leaf for it: it has %d of %d bytes", path, len(data), segment.size)
            return None
        return replace(segment, sha256=hashlib.sha256(memoryview(data)[: segment.size]).digest())

    def _compare(self, camera: str, read: SequenceSet) -> None:
        """Notes which segments hold something else, as a start found, than their leaves say."""
        changed: dict[int, Segment] = {}
        for link in self._chains.links(camera, read.first, read.last):
            leaves = {
                entry.facts.number: entry.facts
                for entry in link.entries
                if isinstance(entry, Leaf) and entry.facts.number in read
            }
            rows = self._segments.rows(camera, SequenceSet((number, number) for number in leaves))
            for segment in (segment_of(row) for row in rows if row[STATE] == State.WHOLE):
                if segment is not None:
                    changed.pop(segment.number, None)
                    if facts_of(segment) != leaves[segment.number]:
                        changed[segment.number] = segment
        with self._lock:
            for segment in changed.values():
                log.error("%s: it is not what its leaf in the chain says; that is noted there", segment.path)
                self._add(Leaf(facts_of(segment), Origin.CHANGED), segment.kept_from_us)


def open_keeper(
    *, folder: Path, records: Path, store: str, database: Engine, clock: Clock, problems: Problems
) -> ChainKeeper:
    """Opens the chains of a store, which this process owns.

    Args:
        folder: the store's.
        records: that of its segments.
        store: its name.

    Raises:
        StorageError: they, or the key that they are signed with, cannot be used.
    """
    index = ChainIndex(database)
    try:
        chains = Chains(
            folder=folder / FOLDER,
            store=store,
            index=index,
            key=signing_key(folder),
            clock=clock,
            problems=problems,
        )
    except OSError as error:
        raise storage_error(error, error.filename or folder / FOLDER) from None
    return ChainKeeper(
        records=records,
        chains=chains,
        index=index,
        segments=SegmentIndex(database),
        clock=clock,
        problems=problems,
    )
