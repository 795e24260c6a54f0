"""What the database says of chains: how far each was read, and in which block a segment is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, delete, select

from cloud_service.database.proof_tables import ChainBlockRow, ChainRow
from cloud_service.database.statements import add_rows, put_rows
from cloud_service.database.tables import TombstoneRow
from cloud_service.proof.chain_file import BlockPlace, PlacedLink
from cloud_service.store.sequences import SequenceSet
from icm.errors import ProofError
from icm.proof.chain import Head
from icm.proof.entries import Entry, SegmentFacts, Tombstone, entry_of
from icm.proof.statements import EdgeKey, Pruned


@dataclass
class ChainState:
    """How far a camera's chain got.

    Attributes:
        head: the newest; None: there is no block yet.
        size: bytes of the file up to there.
        numbers: of the segments that have a leaf.
        deleted: numbers of the segments that have a tombstone.
        pruned: what was dropped so far.
        edge_keys: that the camera's records are sealed with, the newest last.
    """

    head: Head | None = None
    size: int = 0
    numbers: SequenceSet = field(default_factory=SequenceSet)
    deleted: SequenceSet = field(default_factory=SequenceSet)
    pruned: Pruned | None = None
    edge_keys: list[EdgeKey] = field(default_factory=list)

    def take(self, placed: PlacedLink) -> None:
        """Goes on to a block."""
        self.head, self.size = placed.link.head, placed.end
        for entry in placed.link.entries:
            self.learn(entry)

    def learn(self, entry: Entry) -> None:
        """Takes in what an entry says."""
        if isinstance(entry, Pruned):
            self.pruned = entry
            for first, last in entry.segments:
                self.numbers.add_range(first, last)
                self.deleted.add_range(first, last)
        elif isinstance(entry, EdgeKey):
            self.edge_keys.append(entry)
        else:
            (self.deleted if isinstance(entry, Tombstone) else self.numbers).add(entry.facts.number)

    def statements(self) -> str:
        """The statements that count, a line each."""
        found: list[Entry] = [*self.edge_keys, *([self.pruned] if self.pruned is not None else [])]
        return "\n".join(entry.line().decode() for entry in found)


class ChainIndex:
    """Rows about chains. Losing them costs time at the next start. Every method raises SQLAlchemyError where the
    database does not answer.
    """

    def __init__(self, database: Engine) -> None:
        self._database = database

    def cameras(self) -> list[str]:
        """The cameras whose chains the database knows, by name."""
        with self._database.connect() as connection:
            return sorted(connection.scalars(select(ChainRow.camera)))

    def load(self, camera: str) -> ChainState:
        """How far the database knows a camera's chain."""
        with self._database.connect() as connection:
            row = connection.execute(select(ChainRow.__table__).where(ChainRow.camera == camera)).first()
        if row is None:
            return ChainState()
        try:
            state = ChainState(Head.of(row.head.encode()), row.size)
            for line in row.statements.splitlines():
                state.learn(entry_of(line.encode()))
        except ProofError:
            return ChainState()
        state.numbers, state.deleted = SequenceSet.from_text(row.numbers), SequenceSet.from_text(row.deleted)
        return state

    def forget(self, camera: str) -> None:
        """The chain is read from its start again."""
        with self._database.begin() as connection:
            connection.execute(delete(ChainBlockRow).where(ChainBlockRow.camera == camera))
            connection.execute(delete(ChainRow).where(ChainRow.camera == camera))

    def note(self, camera: str, state: ChainState, blocks: Sequence[PlacedLink], anew: bool = False) -> None:
        """Notes blocks that were read or written, and how far the chain got with them.

        Args:
            anew: whether these are all blocks, and lie elsewhere than those that are noted.
        """
        assert state.head is not None
        row = {
            "camera": camera,
            "size": state.size,
            "head": state.head.line().decode(),
            "numbers": state.numbers.to_text(),
            "deleted": state.deleted.to_text(),
            "statements": state.statements(),
        }
        with self._database.begin() as connection:
            if anew:
                connection.execute(delete(ChainBlockRow).where(ChainBlockRow.camera == camera))
            # Of two blocks that have one number, as after a chain was changed from outside, the later.
            rows = {placed.link.block.number: _block_row(placed) for placed in blocks}
            put_rows(connection, ChainBlockRow, list(rows.values()), _PLACE)
            put_rows(connection, ChainRow, [row], ("size", "head", "numbers", "deleted", "statements"))
            _add_tombstones(connection, blocks)

    def blocks_of(self, camera: str, first: int, last: int) -> list[BlockPlace]:
        """The places of the blocks that may speak of segments ``first`` to ``last``, in their order."""
        query = (
            select(ChainBlockRow.block, ChainBlockRow.offset, ChainBlockRow.length)
            .where(
                ChainBlockRow.camera == camera,
                ChainBlockRow.first_number <= last,
                ChainBlockRow.last_number >= first,
            )
            .order_by(ChainBlockRow.block)
        )
        with self._database.connect() as connection:
            return [BlockPlace(*row) for row in connection.execute(query)]

    def blocks_from(self, camera: str, block: int, limit: int) -> list[BlockPlace]:
        """The places of the blocks from a number on, ``limit`` at most."""
        query = (
            select(ChainBlockRow.block, ChainBlockRow.offset, ChainBlockRow.length)
            .where(ChainBlockRow.camera == camera, ChainBlockRow.block >= block)
            .order_by(ChainBlockRow.block)
            .limit(limit)
        )
        with self._database.connect() as connection:
            return [BlockPlace(*row) for row in connection.execute(query)]

    def tombstones(self, camera: str, without: SequenceSet) -> list[Tombstone]:
        """A camera's tombstones that the database has, but for those of the numbers ``without``."""
        found = []
        with self._database.connect() as connection:
            for first, last in gaps(without):
                query = select(TombstoneRow.__table__).where(
                    TombstoneRow.camera == camera, TombstoneRow.number.between(first, last)
                )
                found += list(connection.execute(query.order_by(TombstoneRow.number)))
        return [
            Tombstone(
                SegmentFacts(
                    row.camera,
                    row.number,
                    row.epoch,
                    row.size,
                    row.records,
                    row.sequences,
                    row.first_capture_us,
                    row.last_capture_us,
                    row.sha256,
                ),
                row.reason,
                row.deleted_us,
                row.deleted_by,
                row.rule,
            )
            for row in found
        ]


_PLACE = ("first_number", "last_number", "first_us", "last_us", "offset", "length")
_HIGHEST = (1 << 63) - 1


def gaps(numbers: SequenceSet) -> list[tuple[int, int]]:
    """What lies between and around ranges of segments' numbers, as ranges of which both ends count."""
    found, after = [], 0
    for first, last in numbers:
        if first > after + 1:
            found.append((after + 1, first - 1))
        after = last
    return [*found, (after + 1, _HIGHEST)]


def _block_row(placed: PlacedLink) -> dict[str, str | int]:
    block = placed.link.block
    return {
        "camera": block.camera,
        "block": block.number,
        "first_number": block.first_number,
        "last_number": block.last_number,
        "first_us": block.first_us,
        "last_us": block.last_us,
        "offset": placed.offset,
        "length": placed.length,
    }


def _add_tombstones(connection: Connection, blocks: Sequence[PlacedLink]) -> None:
    """A database that was made anew learns of them from the chain."""
    rows = [
        {
            "camera": facts.camera,
            "number": facts.number,
            "epoch": facts.epoch,
            "first_capture_us": facts.first_capture_us,
            "last_capture_us": facts.last_capture_us,
            "records": facts.records,
            "size": facts.size,
            "sequences": facts.sequences,
            "sha256": facts.sha256,
            "reason": entry.reason,
            "rule": entry.rule,
            "deleted_by": entry.by,
            "deleted_us": entry.at_us,
        }
        for placed in blocks
        for entry in placed.link.entries
        if isinstance(entry, Tombstone)
        for facts in (entry.facts,)
    ]
    add_rows(connection, TombstoneRow, rows, (TombstoneRow.number,))
