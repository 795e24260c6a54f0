"""The chains of a store: opened where they ended, and appended to, on the disk first and in the database then."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from cloud_service.database.damage import trouble
from cloud_service.proof.chain_file import ChainFile, PlacedLink, chained_cameras
from cloud_service.proof.chain_index import ChainIndex, ChainState
from cloud_service.proof.pruning import KEPT_US, LEAST_SEGMENTS, LEAST_SHARE, SEGMENT_BYTES, PruningPlan
from cloud_service.store.segment import MAX_NUMBER
from icm.proof.chain import Link, make_link
from icm.proof.entries import Entry
from icm.proof.keys import SigningKey
from icm.proof.statements import Pruned
from icm.service.clock import Clock
from icm.service.health import Problems

log = logging.getLogger(__name__)
_BLOCKS = 500
"""Of a chain that is read anew, noted in the database together."""


class _Chain:
    """One camera's chain.

    Attributes:
        unnoted: blocks that the database does not know yet.
        moved: whether these are all, and it knows them in other places.
        compared: whether it was looked whether all is dropped that is said to be.
        looked: how many segments were deleted when it was last looked for what can be dropped.
    """

    def __init__(self, file: ChainFile, state: ChainState) -> None:
        self.file, self.state = file, state
        self.unnoted: list[PlacedLink] = []
        self.moved, self.compared = False, False
        self.looked = 0


class Chains:
    """All chains of a store, which this process owns. Not thread-safe."""

    def __init__(
        self, *, folder: Path, store: str, index: ChainIndex, key: SigningKey, clock: Clock, problems: Problems
    ) -> None:
        """Opens the chains that there are, and cuts off what a crash left of a block.

        Args:
            folder: that the chains lie in.
            store: the record store's name.

        Raises:
            OSError: a chain cannot be read.
        """
        self._folder, self._store, self._index = folder, store, index
        self._key, self._clock, self._problems = key, clock, problems
        # One whose file is gone altogether had blocks, too.
        self._chains = {camera: self._open(camera) for camera in {*chained_cameras(folder), *self._known()}}

    def cameras(self) -> list[str]:
        """Those that have a chain."""
        return sorted(self._chains)

    def state(self, camera: str) -> ChainState:
        """How far a camera's chain got."""
        chain = self._chains.get(camera)
        return chain.state if chain is not None else ChainState()

    def append(self, camera: str, entries: Sequence[Entry]) -> None:
        """Puts entries, one at least, into a block of their own, which is on the disk when this returns.

        Raises:
            OSError: the disk refused; nothing was appended.
        """
        chain = self._chains.get(camera)
        if chain is None:
            chain = _Chain(ChainFile(self._folder, camera), ChainState())
        head = chain.state.head
        link = make_link(
            store=self._store,
            camera=camera,
            previous=head,
            entries=entries,
            key=self._key,
            now_us=self._clock.now_us(),
        )
        placed = chain.file.append(link)
        if placed.offset != chain.state.size:
            self._changed(camera, f"it has {placed.offset} bytes where {chain.state.size} were written")
        self._chains[camera] = chain
        chain.state.take(placed)
        chain.unnoted.append(placed)
        self._note(camera, chain)

    def prune(self, camera: str) -> bool:
        """Drops the entries of what is wholly gone, if enough is; see ``pruning``. What was dropped is signed first.

        Returns:
            Whether something was.

        Raises:
            OSError: the disk refused; what is signed is dropped the next time.
            ProofError: the chain is damaged.
            SQLAlchemyError: the database does not answer.
        """
        chain = self._chains[camera]
        state, before = chain.state, chain.state.pruned
        if not chain.compared:
            chain.compared = True
            if before is not None and not self._are_dropped(chain, before):
                # A crash, or the disk, kept them.
                self._drop(camera, chain, before)
        deleted = _count(state.deleted)
        expected = (deleted - (_count(before.segments) if before is not None else 0)) * SEGMENT_BYTES
        if deleted - chain.looked < LEAST_SEGMENTS or expected < LEAST_SHARE * state.size:
            return False
        chain.looked = deleted
        now_us = self._clock.now_us()
        statement = PruningPlan(chain.file.links(), before, now_us - KEPT_US).statement(camera, now_us)
        if statement is None:
            return False
        self.append(camera, [statement])
        chain.compared = False
        self._drop(camera, chain, statement)
        chain.compared = True
        return True

    def _are_dropped(self, chain: _Chain, said: Pruned) -> bool:
        """Whether the entries are gone that are said to be: all go together."""
        last = said.blocks[-1][1]
        places = self._index.blocks_from(said.camera, last, 1)
        return bool(places) and next((link.pruned for link in chain.file.links_from(places[0])), True)

    def _drop(self, camera: str, chain: _Chain, said: Pruned) -> None:
        size = chain.state.size
        chain.unnoted, chain.moved = chain.file.drop_entries(said), True
        chain.state.size = chain.unnoted[-1].end
        self._note(camera, chain)
        text = "camera %s: the entries of %d deleted segments are dropped by now: its chain has %d bytes, and had %d"
        log.info(text, camera, _count(said.segments), chain.state.size, size)

    def note_all(self) -> None:
        """Tells the database what it does not know yet."""
        for camera, chain in self._chains.items():
            if chain.unnoted:
                self._note(camera, chain)

    def links(self, camera: str, first: int, last: int) -> Iterator[Link]:
        """The blocks that may speak of segments ``first`` to ``last``, in their order.

        Raises:
            OSError: the chain cannot be read.
            ProofError: it is damaged there.
            SQLAlchemyError: the database does not answer.
        """
        file = ChainFile(self._folder, camera)
        for place in self._index.blocks_of(camera, first, last):
            link = next(file.links_from(place), None)
            if link is not None:
                yield link

    def links_from(self, camera: str, first: int) -> Iterator[Link]:
        """All blocks from the earliest on that may speak of segment ``first`` or a later one, up to the newest.

        Raises:
            OSError: the chain cannot be read.
            ProofError: it is damaged there.
            SQLAlchemyError: the database does not answer.
        """
        places = self._index.blocks_of(camera, first, MAX_NUMBER)
        if places:
            file = ChainFile(self._folder, camera)
            yield from file.links_from(min(places, key=lambda place: place.offset))

    def _open(self, camera: str) -> _Chain:
        file = ChainFile(self._folder, camera)
        known = self._load(camera)
        state = known
        if known.head is None or not file.ends_with(known.head, known.size):
            state = ChainState()
            self._forget(camera)
        damage: list[str] = []
        chain = _Chain(file, state)
        for placed in file.links(state.size, damage):
            state.take(placed)
            chain.unnoted.append(placed)
            if len(chain.unnoted) >= _BLOCKS:
                self._note(camera, chain)
        if damage:
            self._changed(camera, damage[0])
        if file.size() > state.size:
            log.warning("%s: cutting off the last %d bytes, which hold no whole block", file.path,
                        file.size() - state.size)  # fmt: skip
            file.cut(state.size)
        if known.head is not None and (state.head is None or state.head.block < known.head.block):
            # What follows names the head that it followed, so that the hole can be seen.
            self._changed(camera, f"it had {known.head.block} blocks and has {state.head.block if state.head else 0}")
            state.head = known.head
        self._note(camera, chain, always=state.head is known.head)
        return chain

    def _changed(self, camera: str, what: str) -> None:
        text = f"the chain was changed from outside, or is damaged: {what}: run icm-cloud verify --camera {camera}"
        if self._problems.part("proof", camera).report(text):
            log.error("camera %s: %s", camera, text)

    def _known(self) -> list[str]:
        try:
            return self._index.cameras()
        except SQLAlchemyError as error:
            log.warning("the database does not say which chains there are: %s", trouble(error))
            return []

    def _load(self, camera: str) -> ChainState:
        try:
            return self._index.load(camera)
        except SQLAlchemyError as error:
            log.warning("camera %s: reading its whole chain: %s", camera, trouble(error))
            return ChainState()

    def _forget(self, camera: str) -> None:
        try:
            self._index.forget(camera)
        except SQLAlchemyError as error:
            log.warning("camera %s: the database keeps an old chain: %s", camera, trouble(error))

    def _note(self, camera: str, chain: _Chain, always: bool = False) -> None:
        """Tells the database of blocks that it does not know, and how far the chain got.

        Args:
            always: even if there is no such block.
        """
        if chain.state.head is None or not (chain.unnoted or always):
            return
        try:
            self._index.note(camera, chain.state, chain.unnoted, anew=chain.moved)
        except SQLAlchemyError as error:
            log.warning("camera %s: cannot note %d blocks yet: %s", camera, len(chain.unnoted), trouble(error))
        else:
            chain.unnoted, chain.moved = [], False


def _count(ranges: Iterable[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)
