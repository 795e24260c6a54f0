"""An archive of plain data, for tests of what is planned."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cloud_service.database.usage import Amount, Tier, UsageKey
from cloud_service.retention.items import Content, Item, Place

DAY = 86_400 * 1_000_000
NOW = 20_000 * DAY


def item(tier: Tier, number: int, age_us: int, camera: str = "gate", disk_bytes: int = 100) -> Item:
    """A segment of a given age at ``NOW``."""
    at = NOW - age_us
    return Item(tier, camera, number, at, at - 10_000_000, at, disk_bytes)


@dataclass
class MemoryView:
    """See ``View``. Segments are looked at by the detector, and empty, unless told otherwise."""

    items: list[Item]
    contents: dict[int, Content] = field(default_factory=dict)

    def cameras(self) -> list[str]:
        return sorted({each.camera for each in self.items})

    def page(self, tier: Tier, camera: str, after: Place | None, before_us: int | None) -> list[Item]:
        found = [
            each
            for each in self.items
            if (each.tier, each.camera) == (tier, camera)
            and (after is None or each.place > after)
            and (before_us is None or each.kept_from_us < before_us)
        ]
        return sorted(found, key=lambda each: each.place)[:2]

    def content(self, item: Item, before_us: int, after_us: int) -> Content:
        return self.contents.get(item.number, Content(True, {}))

    def usage(self) -> dict[UsageKey, Amount]:
        files, sizes = Counter[UsageKey](), Counter[UsageKey]()
        for each in self.items:
            files[UsageKey(each.camera, each.tier)] += each.files
            sizes[UsageKey(each.camera, each.tier)] += each.disk_bytes
        return {key: Amount(files[key], sizes[key], sizes[key]) for key in files}
