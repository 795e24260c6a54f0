"""What the delivery promises, checked: what a source gave, what it was told, and what the cloud's disk holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from icm.codec.bitstream.record import Kind, Record, StreamHeader, parse_stream
from icm.frame_id import FrameId


@dataclass
class DeliveryLog:
    """The source's side. A frame's capture time, in microseconds since 1970, is its own within a camera and grows.

    Attributes:
        given: frames that were handed over, by camera.
        acknowledged: those that the edge said to have spooled, by the name that it gave them.
    """

    given: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    acknowledged: dict[FrameId, int] = field(default_factory=dict)
    renamed: int = 0

    def acknowledge(self, name: FrameId, capture_us: int) -> None:
        """The edge said that it keeps the frame under this name."""
        self.renamed += name in self.acknowledged
        self.acknowledged[name] = capture_us


@dataclass(frozen=True)
class DeliveryReport:
    """How many times each promise was broken, after everything was delivered.

    Attributes:
        given: how many frames were given.
        acknowledged: how many frames were acknowledged.
        stored: how many frames were stored.
        lost: acknowledged frames that the store does not hold, or holds another frame in the place of.
        duplicates: records that the store holds more than once, by name or by frame, and names given to two frames.
        unknown: records of frames that nobody gave.
        disordered: records that lie before one with a lower sequence or an earlier frame of their camera.
        undecodable: P records that do not lie right after the record that they lean on.
    """

    given: int
    acknowledged: int
    stored: int
    lost: int
    duplicates: int
    unknown: int
    disordered: int
    undecodable: int = 0

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.duplicates or self.unknown or self.disordered or self.undecodable)


def stored(records_folder: Path) -> list[tuple[FrameId, int]]:
    """Every record on a cloud's disk in the order it was appended, with its capture time.

    Raises:
        RecordError: a file holds something else.
    """
    return [
        (FrameId(header.camera, header.epoch, record.sequence), record.capture_us)
        for header, record in _records(records_folder)
    ]


def undecodable(records_folder: Path) -> int:
    """How many P records do not lie right after the record that they lean on.

    Raises:
        RecordError: a file holds something else.
    """
    count, before = 0, FrameId("", 0, 0)
    for header, record in _records(records_folder):
        leans_on = FrameId(header.camera, header.epoch, record.sequence - record.reference)
        count += record.kind is Kind.P and leans_on != before
        before = FrameId(header.camera, header.epoch, record.sequence)
    return count


def _records(folder: Path) -> Iterator[tuple[StreamHeader, Record]]:
    for path in sorted(folder.rglob("*.icm"), key=lambda path: (path.parts[-4], path.stem.rsplit("-", 1)[1])):
        header, records = parse_stream(path.read_bytes())
        yield from ((header, record) for record in records)


def check(ledger: DeliveryLog, records: list[tuple[FrameId, int]]) -> DeliveryReport:
    """Compares both sides."""
    by_name = dict(records)
    seen: set[tuple[object, ...]] = set()
    repeated = 0
    for name, capture_us in records:
        keys = {(*name,), (name.camera, capture_us)}
        repeated += not keys.isdisjoint(seen)
        seen |= keys
    return DeliveryReport(
        given=sum(map(len, ledger.given.values())),
        acknowledged=len(ledger.acknowledged),
        stored=len(records),
        lost=sum(by_name.get(name) != capture_us for name, capture_us in ledger.acknowledged.items()),
        duplicates=repeated + ledger.renamed,
        unknown=sum(capture_us not in ledger.given[name.camera] for name, capture_us in records),
        disordered=sum(
            before.camera == after.camera and (before[1:] >= after[1:] or earlier >= later)
            for (before, earlier), (after, later) in pairwise(records)
        ),
    )
