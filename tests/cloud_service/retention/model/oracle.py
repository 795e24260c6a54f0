"""What a pass of retention is to delete and why: docs/retention.md once more, on plain data and from nothing of the
code that is tested but the settings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from cloud_service.retention_settings import RetentionSettings, TierSettings

DAY_US = 86_400 * 1_000_000
DERIVED = ("video", "thumbnails")
TIERS = (*DERIVED, "stills", "records")
"""In the order in which they go."""


class Thing(NamedTuple):
    """A segment in one tier."""

    tier: str
    camera: str
    number: int


class Size(NamedTuple):
    """What the disk gets back; of it ``picture`` bytes are the key frame's."""

    files: int
    bytes: int
    picture: int = 0


@dataclass
class Known:
    """A segment as the test made it; times in microseconds since 1970.

    Attributes:
        arrived_us: when its records arrived.
        first_us: first capture time.
        last_us: last capture time.
        video_end_us: until when its video lasts.
        detected: whether the detector went through it.
        found: by class, the score of what was found at ``first_us``.
    """

    camera: str
    number: int
    arrived_us: int
    first_us: int
    last_us: int
    video_end_us: int
    detected: bool = False
    found: dict[str, float] = field(default_factory=dict)

    @property
    def kept_from_us(self) -> int:
        return min(max(self.last_us, self.arrived_us - 7 * DAY_US), self.arrived_us)


class Held(NamedTuple):
    """What a hold keeps: of these cameras, or of all, from a time to before another."""

    cameras: tuple[str, ...]
    from_us: int
    to_us: int
    expires_us: int
    within_max_age: bool


class Disk(NamedTuple):
    """A file system, and what is free of it."""

    bytes: int
    free_bytes: int
    inodes: int
    free_inodes: int


class Outcome(NamedTuple):
    """After a pass: reasons by what went, whether the floor lacks something, whether no record may be taken."""

    gone: dict[Thing, str]
    lacking: bool
    blocked: bool


class Oracle:
    """One pass over an archive."""

    def __init__(
        self,
        *,
        settings: RetentionSettings,
        known: Iterable[Known],
        there: dict[Thing, Size],
        now_us: int,
        holds: Collection[Held],
        leased: Collection[tuple[str, int]],
        disk: Disk,
        lacking: bool,
    ) -> None:
        """Looks at an archive.

        Args:
            there: all that lies on the disk.
            now_us: that ages are counted by.
            leased: segments that are being read.
            lacking: whether the floor was broken before and not met since.
        """
        self.settings, self.there, self.now_us = settings, dict(there), now_us
        self.known = {(each.camera, each.number): each for each in known}
        self.present = {(camera, number) for tier, camera, number in there if tier == "records"}
        self.holds = [hold for hold in holds if not hold.expires_us or hold.expires_us > now_us]
        self.leased, self.disk, self.lacking = leased, disk, lacking
        self.gone: dict[Thing, str] = {}
        self.freed = Size(0, 0)

    def outcome(self) -> Outcome:
        """What is to be afterwards."""
        total, floor = self.settings.total, self.settings.floor
        least = max(round(self.disk.bytes * total.min_free_fraction), total.min_free_bytes)
        least_inodes = round(self.disk.inodes * total.min_free_inodes_fraction)
        broken = self.disk.free_bytes < least or self.disk.free_inodes < least_inodes

        def short() -> bool:
            return self.disk.free_bytes + self.freed.bytes < least + self.disk.bytes // 20

        def lacks() -> bool:
            least_files = least_inodes + round(self.disk.inodes * 0.01)
            return (broken or self.lacking) and (short() or self.disk.free_inodes + self.freed.files < least_files)

        for thing in sorted(self.there, key=lambda thing: TIERS.index(thing.tier)):
            if thing in self.there and (due := self.due(thing)):
                self.take(thing, due)
        for camera in sorted({thing.camera for thing in self.there}):
            for tier in TIERS:
                limit = self.tier(tier).max_bytes_per_camera
                for thing in self.oldest(tier, camera) if limit is not None else ():
                    if self.used(tier, camera) > (limit or 0):
                        self.take(thing, "camera_bytes")
        for tier in TIERS if total.max_bytes is not None else ():
            for thing in self.oldest(tier):
                if sum(size.bytes for size in self.there.values()) > (total.max_bytes or 0):
                    self.take(thing, "total_bytes")
        for kind in floor.order:
            for tier in (kind,) if kind in DERIVED else ("stills", "records") if kind in ("quiet", "kept") else ():
                for thing in self.oldest(tier):
                    if lacks() and (kind != "quiet" or self.is_quiet(thing)):
                        self.take(thing, "free_space" if short() else "free_inodes")
        for tier in TIERS if floor.last_resort == "delete_oldest" else ():
            for thing in self.oldest(tier, protected=True):
                if lacks():
                    self.take(thing, "last_resort")
        free, free_inodes = self.disk.free_bytes + self.freed.bytes, self.disk.free_inodes + self.freed.files
        return Outcome(self.gone, lacks(), lacks() and (free < least // 2 or free_inodes < least_inodes // 2))

    def take(self, thing: Thing, reason: str) -> None:
        of = self.known[thing[1:]]
        end_us = of.video_end_us if thing.tier in DERIVED else of.last_us
        held = any(
            (not hold.cameras or thing.camera in hold.cameras)
            and of.first_us < hold.to_us
            and end_us >= hold.from_us
            and not (hold.within_max_age and reason == "max_age")
            for hold in self.holds
        )
        if held or thing[1:] in self.leased:
            return
        self.remove(thing, reason)
        if reason == "max_age" and thing.tier == "records":
            # No video outlives records that are too old, unless the settings give it a longer life.
            for tier in DERIVED:
                along = Thing(tier, *thing[1:])
                if along in self.there and (self.oldest_age(tier) or 0) <= (self.oldest_age("records") or 0):
                    self.remove(along, "max_age")

    def remove(self, thing: Thing, reason: str) -> None:
        size = self.there.pop(thing)
        self.gone[thing] = reason
        if reason == "quiet" and self.settings.quiet.then == "stills" and size.picture:
            self.there[Thing("stills", *thing[1:])] = Size(1, size.picture, size.picture)
            size = Size(size.files - 1, size.bytes - size.picture)
        self.freed = Size(self.freed.files + size.files, self.freed.bytes + size.bytes)

    def due(self, thing: Thing) -> str:
        """By which rule of age it goes; empty if by none."""
        age, longest, quiet = self.age(thing), self.oldest_age(thing.tier), self.settings.quiet.max_age_seconds
        if longest is not None and age > longest * 1e6:
            keeping = [rule.max_age_seconds or 0 for rule in self.settings.keep if self.is_found(thing, rule.classes)]
            return "max_age" if thing.tier != "records" or age > max([longest, *keeping]) * 1e6 else ""
        if thing.tier != "records" or quiet is None or age <= quiet * 1e6:
            return ""
        return "quiet" if self.is_old_enough(thing) and self.is_quiet(thing) else ""

    def is_quiet(self, thing: Thing) -> bool:
        of = self.known[thing[1:]]
        margin_us = round(max((rule.before_seconds for rule in self.settings.keep), default=0) * 1e6)
        looked = of.detected and all(
            each.detected or each.first_us > of.last_us + margin_us
            for each in self.known.values()
            if each.camera == of.camera and each.number > of.number and (each.camera, each.number) in self.present
        )
        return looked and not any(self.is_found(thing, rule.classes) for rule in self.settings.keep)

    def is_found(self, thing: Thing, classes: Collection[str]) -> bool:
        """Whether one of these was seen in a segment, so long before it, or so soon after it."""
        of, rules = self.known[thing[1:]], self.settings.keep
        after_us = round(max(rule.after_seconds for rule in rules) * 1e6)
        before_us = round(max(rule.before_seconds for rule in rules) * 1e6)
        return any(
            name in classes and score >= rules[0].score
            for each in self.known.values()
            if each.camera == of.camera and (each.camera, each.number) in self.present
            for name, score in each.found.items()
            if of.first_us - after_us <= each.first_us <= of.last_us + before_us
        )

    def oldest(self, tier: str, camera: str | None = None, protected: bool = False) -> list[Thing]:
        """What may go of a tier, the oldest first."""
        found = [thing for thing in self.there if thing.tier == tier and camera in (None, thing.camera)]
        going = [thing for thing in found if protected or self.is_old_enough(thing)]
        return sorted(going, key=lambda thing: (-self.age(thing), thing.camera, thing.number))

    def is_old_enough(self, thing: Thing) -> bool:
        least = self.tier(thing.tier).min_age_seconds
        return not least or self.age(thing) >= least * 1e6

    def age(self, thing: Thing) -> int:
        of = self.known[thing[1:]]
        return self.now_us - (of.first_us if thing.tier in DERIVED else of.kept_from_us)

    def tier(self, tier: str) -> TierSettings:
        settings = self.settings
        return {"video": settings.video, "thumbnails": settings.thumbnails}.get(tier, settings.records)

    def oldest_age(self, tier: str) -> float | None:
        """The limit of age in seconds; videos and thumbnails have that of records where they have none."""
        found = self.tier(tier).max_age_seconds
        return self.settings.records.max_age_seconds if found is None else found

    def used(self, tier: str, camera: str) -> int:
        counted = ("stills", "records") if tier in ("stills", "records") else (tier,)
        return sum(
            size.bytes for thing, size in self.there.items() if thing[:2] in {(each, camera) for each in counted}
        )
