"""What a chain is to say: of a segment, from what the index knows of it, and what waits for its block."""

from __future__ import annotations

from dataclasses import dataclass, field

from cloud_service.store.segment import Segment
from icm.proof.entries import Leaf, SegmentFacts, Tombstone


@dataclass
class Leaves:
    """Leaves of a camera that are in no block yet.

    Attributes:
        hour: that their segments' age counts from, in hours since 1970.
        begun_hour: when the first of them came.
        leaves: by number.
    """

    hour: int
    begun_hour: int
    leaves: dict[int, Leaf] = field(default_factory=dict)


@dataclass
class Tombstones:
    """Tombstones of a camera that are in no block yet; the database has each.

    Attributes:
        begun_hour: when the first of them came, in hours since 1970.
        tombstones: by number.
    """

    begun_hour: int
    tombstones: dict[int, Tombstone] = field(default_factory=dict)


def facts_of(segment: Segment) -> SegmentFacts:
    """A sealed segment as a leaf has it."""
    return SegmentFacts(
        camera=segment.camera,
        number=segment.number,
        epoch=segment.epoch,
        size=segment.size,
        records=segment.records,
        sequences=segment.sequences.to_text(),
        first_capture_us=segment.first_capture_us,
        last_capture_us=segment.last_capture_us,
        sha256=segment.sha256,
    )
