"""What is known of the last passes of retention."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cloud_service.holds.budget import HoldTotals
from cloud_service.retention.clock import Reading


@dataclass
class State:
    """What is known of the last passes, for metrics. Counters by camera, tier and reason.

    Attributes:
        apart: whether the archive lies on another disk than the store.
    """

    deleted_bytes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    deleted_items: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    last_success_us: int = 0
    clock: Reading = field(default_factory=lambda: Reading(None, True))
    overdue_bytes: Counter[str] = field(default_factory=Counter)
    apart: bool = False
    floor_active: bool = False
    freed_in_vain: bool = False
    blocked: bool = False
    waiting: bool = False
    store_missing: bool = False
    holds: HoldTotals = field(default_factory=HoldTotals)
    orphan_files: int = 0
    orphan_bytes: int = 0
