"""A store whose chains are kept, as the service wires it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine

from cloud_service.proof.chain_file import ChainFile
from cloud_service.proof.keeper import ChainKeeper, open_keeper
from cloud_service.store import RecordStore, Segment
from cloud_service.store.index import SegmentIndex
from icm.codec.bitstream.record import StreamHeader
from icm.proof.chain import Head, Link
from icm.proof.entries import Entry, Leaf, Tombstone
from icm.service.clock import ManualClock
from icm.service.health import Problems
from tests.cloud_service.parts import START_US, header, raw, record

STORE = "0123456789abcdef"


class Kept:
    """A store and its keeper, whose thread does not run: ``work`` does what it would.

    Attributes:
        folder: the store's.
    """

    def __init__(self, folder: Path, database: Engine, clock: ManualClock | None = None) -> None:
        self.folder, self.database = folder, database
        self.clock = clock or ManualClock(START_US)
        self.problems = Problems()
        self.keeper: ChainKeeper = open_keeper(
            folder=folder,
            records=folder / "records",
            store=STORE,
            database=database,
            clock=self.clock,
            problems=self.problems,
        )
        self.store = RecordStore(
            folder / "records", SegmentIndex(database), 1.0, self.clock, on_sealed=self.keeper.sealed
        )
        self.keeper.look_at(self.store.read_at_start)

    def append(self, first: int, last: int, camera: str = "gate") -> None:
        """Ten records, of a second, are a segment."""
        of: StreamHeader = header(camera)
        self.store.append(of, raw([record(sequence) for sequence in range(first, last + 1)], of))

    def close(self) -> None:
        """As the service stops."""
        self.keeper.work()
        self.store.close()
        self.keeper.stop()

    def crash(self) -> None:
        """What is in memory is lost; the index knows what was sealed."""
        self.store.close()

    def segments(self, camera: str = "gate") -> list[Segment]:
        """All of a camera."""
        found: list[Segment] = []
        while (segment := self.store.segment(camera, found[-1].number + 1 if found else 0)) is not None:
            found.append(segment)
        return found

    def path(self, number: int, camera: str = "gate") -> Path:
        """Of a segment's file."""
        segment = self.store.segment(camera, number)
        assert segment is not None
        return self.folder / "records" / segment.path


def links(folder: Path, camera: str = "gate") -> list[Link]:
    """The blocks of a camera's chain, which hold."""
    found = [placed.link for placed in ChainFile(folder / "proof", camera).links()]
    previous: Head | None = None
    for link in found:
        link.check(previous)
        previous = link.head
    return found


def entries(folder: Path, camera: str = "gate") -> list[Entry]:
    """What a camera's chain, which holds, says."""
    return [entry for link in links(folder, camera) for entry in link.entries]


def told(found: Sequence[Entry]) -> list[tuple[int, str]]:
    """Number and origin, or reason, of entries."""
    return [(of.facts.number, of.origin if isinstance(of, Leaf) else of.reason) for of in found]


def tombstones(found: Sequence[Entry]) -> list[Tombstone]:
    """Those among entries."""
    return [of for of in found if isinstance(of, Tombstone)]
