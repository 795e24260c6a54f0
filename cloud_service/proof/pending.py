"""What of a camera waits for its block: leaves of an hour, and the tombstones of an hour."""

from __future__ import annotations

from dataclasses import dataclass, field

from icm.proof.entries import Leaf, Tombstone


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
