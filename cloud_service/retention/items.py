"""What retention decides about, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from cloud_service.database.usage import Tier


class Reason(StrEnum):
    """Why something goes, in the order in which rules are asked; the first that applies is written down."""

    MAX_AGE = "max_age"
    QUIET = "quiet"
    CAMERA_BYTES = "camera_bytes"
    TOTAL_BYTES = "total_bytes"
    FREE_SPACE = "free_space"
    FREE_INODES = "free_inodes"
    LAST_RESORT = "last_resort"
    ORPHAN = "orphan"
    """Of a file that no row knows; no rule is asked."""


class Place(NamedTuple):
    """Where an item stands among those of its camera and tier, which go in this order."""

    kept_from_us: int
    number: int


@dataclass(frozen=True)
class Item:
    """A sealed segment in one tier.

    Attributes:
        tier: which of its files this is about.
        camera: whose it is.
        number: the segment's.
        kept_from_us: what its age counts from, microseconds since 1970.
        first_capture_us: earliest capture time in it, microseconds since 1970.
        last_capture_us: latest capture time in it, microseconds since 1970.
        disk_bytes: what the disk gets back.
        files: how many go.
    """

    tier: Tier
    camera: str
    number: int
    kept_from_us: int
    first_capture_us: int
    last_capture_us: int
    disk_bytes: int
    files: int = 1

    @property
    def place(self) -> Place:
        return Place(self.kept_from_us, self.number)


@dataclass(frozen=True)
class Content:
    """What is known of a segment's frames.

    Attributes:
        detected: whether the detector has gone through all of them.
        scores: by class, the best score of what was found in or around them.
        known: whether nothing of what was found in or around them was deleted by itself.
    """

    detected: bool
    scores: dict[str, float]
    known: bool = True


@dataclass(frozen=True)
class Planned:
    """Something that is to go.

    Attributes:
        item: what.
        reason: the rule's kind.
        rule: the very rule, for a person.
        stills: whether its key frame stays.
        along: what else of the segment goes with it.
    """

    item: Item
    reason: Reason
    rule: str
    stills: bool = False
    along: tuple[Tier, ...] = ()


class View(Protocol):
    """The archive as retention sees it."""

    def cameras(self) -> list[str]:
        """All cameras of which there is something."""
        ...

    def page(self, tier: Tier, camera: str, after: Place | None, before_us: int | None) -> list[Item]:
        """The next sealed segments of a camera that have something in a tier, in the order of their places.

        Args:
            tier: which.
            camera: whose.
            after: behind which to begin; None for the oldest.
            before_us: only those whose age counts from before this; None for all.

        Returns:
            Some of them, or none if there are no more.
        """
        ...

    def content(self, item: Item, before_us: int, after_us: int) -> Content:
        """What was found in a segment, so long before it and so long after it, in microseconds."""
        ...
