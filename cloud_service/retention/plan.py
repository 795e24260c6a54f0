"""What is to go now, worked out from plain data: nothing here deletes, and nothing asks a disk or a clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from typing import Any

from cloud_service.database.usage import Amount, Tier, UsageKey
from cloud_service.retention.items import Content, Item, Place, Planned, Reason, View
from cloud_service.retention.policy import BY_AGE, DERIVED, OF_RECORDS, CameraPolicy, Policy

MOST_ITEMS = 256
MOST_BYTES = 1 << 30
"""Of one batch: it has to be a short transaction, and what goes wrong must not go wrong for much."""


@dataclass
class Scan:
    """How far one rule has gone through the items of a camera.

    Attributes:
        place: of the last item that was looked at; None before the first.
        again_from: from where to begin anew, as an item there could not go for the moment only.
    """

    place: Place | None = None
    again_from: Place | None = None


@dataclass
class Scans:
    """How far rules have gone, from one pass to the next: what a rule let stand once is not asked for again."""

    _scans: dict[tuple[Any, ...], Scan] = field(default_factory=dict)

    def of(self, *key: Any) -> Scan:
        return self._scans.setdefault(key, Scan())

    def reset(self) -> None:
        """All begin with the oldest: holds, rules or the archive's past have changed."""
        self._scans.clear()

    def retry(self) -> None:
        """Those begin anew that left something behind which may go by now."""
        for scan in self._scans.values():
            if scan.again_from is not None:
                scan.place, scan.again_from = Place(scan.again_from.kept_from_us, scan.again_from.number - 1), None


@dataclass(frozen=True)
class Need:
    """What a floor lacks: bytes and inodes that should be free and are not, what deletions have freed already counted
    as free.
    """

    bytes: int = 0
    inodes: int = 0


@dataclass
class Planning:
    """One look at everything that is to go. A batch of it at a time, or all of it for a preview.

    Attributes:
        now_us: the time that ages are counted by, microseconds since 1970; None while no clock can be trusted.
        usage: what tiers take; what is planned is taken off.
        need: what the floors of the store's disk lack; what is planned on it is taken off.
        apart: likewise of a disk that the archive has to itself, and which only its tiers can help; None where it has
            none.
        held: whether something may not go, for a hold.
        leased: whether something may not go just now, for a reader.
        exhausted: whether the store's disk lacks something when all is done that may be.
    """

    policy: Policy
    view: View
    scans: Scans
    now_us: int | None
    usage: dict[UsageKey, Amount]
    need: Need
    held: Callable[[Item, Reason], bool]
    leased: Callable[[Item], bool]
    apart: Need | None = None
    exhausted: bool = False
    _rules: dict[str, CameraPolicy] = field(default_factory=dict)
    _taken: set[tuple[Tier, str, int]] = field(default_factory=set)
    _asked: tuple[Item, Content] | None = None

    def __post_init__(self) -> None:
        self._total = sum(amount.disk_bytes for amount in self.usage.values())

    def batches(self) -> Iterator[list[Planned]]:
        """What is to go, in the order of the reasons, in batches of bounded size."""
        batch: list[Planned] = []
        size, stills = 0, False
        for planned in self.planned():
            full = len(batch) == MOST_ITEMS or size + planned.item.disk_bytes > MOST_BYTES
            # Pictures that stay of quiet records are there for the rules of size, which come behind those of age.
            stale = stills and planned.reason not in (Reason.MAX_AGE, Reason.QUIET)
            if batch and (full or stale):
                yield batch
                batch, size, stills = [], 0, False
            batch.append(planned)
            size += planned.item.disk_bytes
            stills = stills or planned.stills
        if batch:
            yield batch

    def planned(self) -> Iterator[Planned]:
        """What is to go, in the order of the reasons."""
        cameras = self.view.cameras()
        if self.now_us is not None:
            for camera in cameras:
                yield from self._by_age(camera, self.now_us)
        for camera in cameras:
            yield from self._by_camera_bytes(camera)
        yield from self._by_total_bytes(cameras)
        yield from self._by_floor(cameras)

    def _by_age(self, camera: str, now_us: int) -> Iterator[Planned]:
        rules = self._of(camera)
        for tier in BY_AGE:
            for age_us in rules.lines(tier):
                scan = self.scans.of(Reason.MAX_AGE, tier, camera, age_us)
                for item in self._walk(scan, tier, camera, now_us - age_us):
                    due = rules.due(item, now_us, lambda item=item: self._content(item))  # type: ignore[misc]
                    if due is not None:
                        yield from self._take(scan, item, *due, stills=due[0] is Reason.QUIET and rules.stills)
                    elif tier is Tier.RECORDS and not self._content(item).detected:
                        self._leave(scan, item)

    def _by_camera_bytes(self, camera: str) -> Iterator[Planned]:
        rules = self._of(camera)
        for tier in (*DERIVED, *OF_RECORDS):
            limit = rules.tiers[tier].max_bytes
            if limit is None or self._used(camera, tier) <= limit:
                continue
            scan = self.scans.of(Reason.CAMERA_BYTES, tier, camera)
            for item in self._old_enough(scan, tier, camera):
                if self._used(camera, tier) <= limit:
                    break
                rule = f"{'records' if tier in OF_RECORDS else tier}.max_bytes_per_camera {limit}"
                yield from self._take(scan, item, Reason.CAMERA_BYTES, rule)

    def _by_total_bytes(self, cameras: Iterable[str]) -> Iterator[Planned]:
        limit = self.policy.total_bytes
        if limit is None:
            return
        for tier in (*DERIVED, *OF_RECORDS):
            for scan, item in self._oldest_of_all(Reason.TOTAL_BYTES, tier, cameras):
                if self._total <= limit:
                    return
                yield from self._take(scan, item, Reason.TOTAL_BYTES, f"total.max_bytes {limit}")

    def _by_floor(self, cameras: Iterable[str]) -> Iterator[Planned]:
        floor = self.policy.settings.floor
        for kind in floor.order:
            if kind == "render_cache":
                continue  # no item: whoever plans has asked for its room before
            tiers = (Tier(kind),) if kind in DERIVED else OF_RECORDS
            for tier in tiers:
                yield from self._for_floor(kind, tier, cameras)
        if floor.last_resort == "delete_oldest":
            for tier in (*DERIVED, *OF_RECORDS):
                if not self._lacks(tier):
                    continue
                for scan, item in self._oldest_of_all(Reason.LAST_RESORT, tier, cameras, protected=True):
                    if not self._lacks(tier):
                        break
                    yield from self._take(scan, item, Reason.LAST_RESORT, "floor.last_resort delete_oldest")
        self.exhausted = self._lacks(Tier.RECORDS)

    def _for_floor(self, kind: str, tier: Tier, cameras: Iterable[str]) -> Iterator[Planned]:
        if not self._lacks(tier):
            return
        for scan, item in self._oldest_of_all(f"floor {kind}", tier, cameras):
            if not self._lacks(tier):
                return
            if kind == "quiet" and not self._of(item.camera).is_quiet(self._content(item)):
                if not self._content(item).detected:
                    self._leave(scan, item)
                continue
            yield from self._take(scan, item, *self._floor_reason(tier))

    def _need_of(self, tier: Tier) -> Need:
        """What the disk lacks that a tier lies on."""
        return self.apart if self.apart is not None and tier in DERIVED else self.need

    def _lacks(self, tier: Tier) -> bool:
        need = self._need_of(tier)
        return need.bytes > 0 or need.inodes > 0

    def _floor_reason(self, tier: Tier) -> tuple[Reason, str]:
        total = self.policy.settings.total
        if self._need_of(tier).bytes > 0:
            least = f"total.min_free_fraction {total.min_free_fraction:g}, min_free_bytes {total.min_free_bytes}"
            return Reason.FREE_SPACE, least
        return Reason.FREE_INODES, f"total.min_free_inodes_fraction {total.min_free_inodes_fraction:g}"

    def _oldest_of_all(
        self, rule: str, tier: Tier, cameras: Iterable[str], protected: bool = False
    ) -> Iterator[tuple[Scan, Item]]:
        """The items of all cameras, the oldest first.

        Args:
            rule: whose scans go on.
            tier: which.
            cameras: whose.
            protected: whether what ``min_age`` protects is among them.
        """

        def of(camera: str) -> Iterator[tuple[Scan, Item]]:
            scan = self.scans.of(rule, tier, camera)
            items = self._walk(scan, tier, camera, None) if protected else self._old_enough(scan, tier, camera)
            return ((scan, item) for item in items)

        return merge(*map(of, cameras), key=lambda found: (found[1].kept_from_us, found[1].camera, found[1].number))

    def _old_enough(self, scan: Scan, tier: Tier, camera: str) -> Iterator[Item]:
        """Those that ``min_age`` does not protect. Where no clock can be trusted it protects all that it might."""
        rule = self._of(camera).tiers[tier]
        if not rule.min_age_us:
            yield from self._walk(scan, tier, camera, None)
        elif self.now_us is not None:
            yield from self._walk(scan, tier, camera, self.now_us - rule.min_age_us + 1)

    def _walk(self, scan: Scan, tier: Tier, camera: str, before_us: int | None) -> Iterator[Item]:
        while page := self.view.page(tier, camera, scan.place, before_us):
            for item in page:
                # Whoever stops here asks for this one again, the next time.
                if (tier, camera, item.number) not in self._taken:
                    yield item
                scan.place = item.place

    def _take(self, scan: Scan, item: Item, reason: Reason, rule: str, *, stills: bool = False) -> Iterator[Planned]:
        if self.held(item, reason):
            return
        if self.leased(item):
            self._leave(scan, item)
            return
        self._taken.add((item.tier, item.camera, item.number))
        self._count(item)
        along = self._of(item.camera).along if item.tier is Tier.RECORDS and reason is Reason.MAX_AGE else ()
        yield Planned(item, reason, rule, stills, along)

    def _leave(self, scan: Scan, item: Item) -> None:
        if scan.again_from is None or item.place < scan.again_from:
            scan.again_from = item.place

    def _count(self, item: Item) -> None:
        if item.tier is Tier.INDEX:
            return  # a database's file does not shrink
        key = UsageKey(item.camera, Tier.KEYFRAMES if item.tier is Tier.STILLS else item.tier)
        self.usage[key] = self.usage.get(key, Amount()) + Amount(-item.files, 0, -item.disk_bytes)
        self._total -= item.disk_bytes
        need = self._need_of(item.tier)
        left = Need(need.bytes - item.disk_bytes, need.inodes - item.files)
        if need is self.apart:
            self.apart = left
        else:
            self.need = left

    def _used(self, camera: str, tier: Tier) -> int:
        counted = (Tier.RECORDS, Tier.KEYFRAMES) if tier in OF_RECORDS else (tier,)
        return sum(self.usage.get(UsageKey(camera, each), Amount()).disk_bytes for each in counted)

    def _content(self, item: Item) -> Content:
        if self._asked is None or self._asked[0] != item:
            rules = self._of(item.camera)
            self._asked = item, self.view.content(item, rules.keep_after_us, rules.keep_before_us)
        return self._asked[1]

    def _of(self, camera: str) -> CameraPolicy:
        return self._rules.setdefault(camera, self.policy.camera(camera))
