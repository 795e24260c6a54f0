"""The settings of retention as rules that decide about one segment by plain data.

The order of reasons, of which the first that applies is written down:

1. Held, or leased by a reader: nothing below applies.
2. ``max_age`` of its tier; for records of a ``keep`` rule that matches, whichever is longer.
3. ``quiet.max_age``: records that a detector has gone through and no ``keep`` rule matches.
4. ``max_bytes_per_camera``, the oldest first; not what ``min_age`` protects.
5. ``total.max_bytes``: video, thumbnails, records, the oldest of all cameras first; not what ``min_age`` protects.
6. The floors of free space and free inodes, class by class; not what ``min_age`` protects.
7. ``last_resort``: no record is taken any more, or the oldest go that only ``min_age`` protects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cloud_service.database.usage import Tier
from cloud_service.retention.items import Content, Item, Reason
from cloud_service.retention_settings import KeepSettings, RetentionSettings, TierSettings

DERIVED = (Tier.VIDEO, Tier.THUMBNAILS)
"""What can be made again from records, and so goes before any."""
BY_AGE = (*DERIVED, Tier.INDEX, Tier.STILLS, Tier.RECORDS)
"""What has limits of age, in the order in which it goes."""
OF_RECORDS = (Tier.STILLS, Tier.RECORDS)
"""What the settings ``records`` are about, in the order in which it goes."""


@dataclass(frozen=True)
class TierRule:
    """What holds for one tier of a camera; times in microseconds, None for no limit."""

    name: str
    max_age_us: int | None
    min_age_us: int
    max_bytes: int | None

    def protects(self, item: Item, now_us: int) -> bool:
        """Whether the item is too young to go."""
        return now_us - item.kept_from_us < self.min_age_us


@dataclass(frozen=True)
class KeepRule:
    """What makes records worth keeping; times in microseconds."""

    name: str
    classes: frozenset[str]
    score: float
    max_age_us: int | None

    def matches(self, content: Content) -> bool:
        """Whether something was found that the rule names."""
        return any(
            score >= self.score and (not self.classes or name in self.classes) for name, score in content.scores.items()
        )


@dataclass(frozen=True)
class CameraPolicy:
    """All rules for one camera; times in microseconds.

    Attributes:
        keep_before_us: how long before a detection its surroundings begin.
        keep_after_us: how long after a detection they end.
        stills: whether a picture of each quiet segment stays.
    """

    tiers: dict[Tier, TierRule]
    keep: tuple[KeepRule, ...]
    keep_before_us: int
    keep_after_us: int
    quiet_max_age_us: int | None
    stills: bool

    def lines(self, tier: Tier) -> list[int]:
        """The ages at which something may become of an item of a tier, the longest first."""
        ages = {self.tiers[tier].max_age_us}
        if tier is Tier.RECORDS:
            ages |= {self.quiet_max_age_us, *(self._longest(rule) for rule in self.keep)}
        return sorted((age for age in ages if age is not None), reverse=True)

    @property
    def along(self) -> tuple[Tier, ...]:
        """What may not outlive records that are too old. It is too old as well, though by capture times that a camera
        with a wrong clock gave it may be younger."""
        longest = self.tiers[Tier.RECORDS].max_age_us
        return tuple(
            tier
            for tier in DERIVED
            if longest is not None and (age := self.tiers[tier].max_age_us) is not None and age <= longest
        )

    def due(self, item: Item, now_us: int, content: Callable[[], Content]) -> tuple[Reason, str] | None:
        """Why an item is to go by its age, by reason and rule; None if it is not.

        Args:
            item: which.
            now_us: microseconds since 1970.
            content: asked only where a rule depends on what was found.
        """
        tier, age = self.tiers[item.tier], now_us - item.kept_from_us
        matching = list[KeepRule]()
        if tier.max_age_us is not None and age > tier.max_age_us:
            longer = [rule for rule in self.keep if (rule.max_age_us or 0) > tier.max_age_us]
            if item.tier is Tier.RECORDS and longer:
                found = content()
                # What was found may have been deleted; then it may have been worth keeping.
                matching = [rule for rule in longer if not found.known or rule.matches(found)]
            allowed = max([tier.max_age_us, *(rule.max_age_us or 0 for rule in matching)])
            if age > allowed:
                return Reason.MAX_AGE, f"{tier.name}.max_age_seconds {tier.max_age_us / 1e6:g}"
            return None
        of_quiet = self.quiet_max_age_us if item.tier is Tier.RECORDS else None
        if of_quiet is not None and age > of_quiet and not tier.protects(item, now_us) and self.is_quiet(content()):
            return Reason.QUIET, f"quiet.max_age_seconds {of_quiet / 1e6:g}"
        return None

    def is_quiet(self, content: Content) -> bool:
        """Whether a detector has gone through all frames, and no rule of keep names what it found."""
        return content.detected and content.known and not any(rule.matches(content) for rule in self.keep)

    def _longest(self, rule: KeepRule) -> int | None:
        longest = self.tiers[Tier.RECORDS].max_age_us
        return None if longest is None else max(longest, rule.max_age_us or 0)


@dataclass(frozen=True)
class Policy:
    """All rules; sizes in bytes."""

    settings: RetentionSettings
    total_bytes: int | None

    @staticmethod
    def of(settings: RetentionSettings) -> Policy:
        return Policy(settings, settings.total.max_bytes)

    @staticmethod
    def none() -> Policy:
        """Nothing goes."""
        nothing = RetentionSettings()
        total = nothing.total.model_copy(update={"min_free_fraction": 0.0, "min_free_inodes_fraction": 0.0})
        return Policy.of(nothing.model_copy(update={"total": total}))

    def camera(self, name: str) -> CameraPolicy:
        """What holds for one camera."""
        found = self.settings.of(name)
        records = _tier("records", found.records, found.records)
        index = found.index.max_age_seconds
        keep = tuple(_keep(index, each) for index, each in enumerate(found.keep))
        return CameraPolicy(
            tiers={
                Tier.RECORDS: records,
                Tier.STILLS: records,
                Tier.VIDEO: _tier("video", found.video, found.records),
                Tier.THUMBNAILS: _tier("thumbnails", found.thumbnails, found.records),
                Tier.INDEX: TierRule("index", None if index is None else _us(index), 0, None),
            },
            keep=keep,
            keep_before_us=_us(max((each.before_seconds for each in found.keep), default=0)),
            keep_after_us=_us(max((each.after_seconds for each in found.keep), default=0)),
            quiet_max_age_us=None if found.quiet.max_age_seconds is None else _us(found.quiet.max_age_seconds),
            stills=found.quiet.then == "stills",
        )

    def unlimited(self) -> list[str]:
        """Tiers that nothing limits but the floor."""
        if self.total_bytes is not None:
            return []
        common = self.camera("")
        return [
            tier.value
            for tier in (Tier.RECORDS, *DERIVED)
            if common.tiers[tier].max_age_us is None and common.tiers[tier].max_bytes is None
        ]

    def lines(self) -> Iterator[str]:
        """What is said at a start."""
        if unlimited := self.unlimited():
            total = self.settings.total
            yield (
                f"{', '.join(unlimited)}: kept without limit until less than {total.min_free_fraction:.0%} of the disk"
                " is free; retention.records.max_age_seconds and the like set one"
            )


def _tier(name: str, of: TierSettings, records: TierSettings) -> TierRule:
    longest = records.max_age_seconds if of.max_age_seconds is None else of.max_age_seconds
    return TierRule(
        name=name if of.max_age_seconds is not None else "records",
        max_age_us=None if longest is None else _us(longest),
        min_age_us=_us(of.min_age_seconds),
        max_bytes=of.max_bytes_per_camera,
    )


def _keep(index: int, of: KeepSettings) -> KeepRule:
    longest = None if of.max_age_seconds is None else _us(of.max_age_seconds)
    return KeepRule(f"keep.{index}", frozenset(of.classes), of.score, longest)


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
