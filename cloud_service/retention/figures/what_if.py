"""What rules would delete, by the planner that the loop deletes by, and nothing of it is done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from sqlalchemy import Engine

from cloud_service.database.usage import Tier, read_usage
from cloud_service.holds.book import Hold, HoldBook
from cloud_service.retention.disk import Floor, space_apart, space_of
from cloud_service.retention.items import Item, Place, Reason, View
from cloud_service.retention.plan import Planning, Scans
from cloud_service.retention.policy import Policy
from cloud_service.retention.view import DatabaseView
from cloud_service.retention_settings import RetentionSettings
from icm.config.assignments import parse_assignments
from icm.errors import BusyError, ConfigError, storage_error
from icm.service.clock import Clock

MOST_SECONDS = 10.0
"""Of one plan, which somebody waits for: rules about what was found look at each segment."""
MOST_CHANGES = 64
_MOST_CHARACTERS = 500
_RETRY_SECONDS = 5.0


def planning(
    policy: Policy,
    view: View,
    database: Engine,
    root: Path,
    archive: Path | None,
    holds: Sequence[Hold],
    now_us: int | None,
) -> Planning:
    """A look at what would go now.

    Args:
        policy: the rules.
        view: of the archive.
        root: the store's folder.
        archive: that of video and thumbnails; None if they are in a bucket.
        holds: those that keep something.
        now_us: the time that ages are counted by, microseconds since 1970; None while no clock can be trusted.

    Raises:
        SQLAlchemyError: the database does not answer; so does each step of the planning.
        OSError: the file system does not say how full it is.
    """
    floor, apart = policy.settings.total, space_apart(archive, root)
    return Planning(
        policy=policy,
        view=view,
        scans=Scans(),
        now_us=now_us,
        usage=read_usage(database),
        need=Floor(floor).need(space_of(root)),
        apart=None if apart is None else Floor(floor).need(apart),
        held=keeping(holds),
        leased=lambda item: False,
    )


def keeping(holds: Sequence[Hold]) -> Callable[[Item, Reason], bool]:
    """Whether any of some holds keeps an item from going for a reason."""
    return lambda item, reason: any(
        hold.keeps(item.camera, item.number, item.first_capture_us, item.last_capture_us)
        and not (hold.within_max_age and reason is Reason.MAX_AGE)
        for hold in holds
    )


class Deletion(NamedTuple):
    """What goes together."""

    camera: str
    tier: Tier
    reason: Reason


@dataclass(frozen=True)
class Plan:
    """What would go.

    Attributes:
        deletions: how many segments, and bytes of the disk, in the order of the names.
        complete: whether this is all; else there was no time for more, and it is at least this much.
        floor_broken: whether the floor would be broken all the same.
    """

    deletions: dict[Deletion, tuple[int, int]]
    complete: bool
    floor_broken: bool


class _HastyView(DatabaseView):
    """Has nothing more once the time is up.

    Attributes:
        is_late: whether that was so when somebody asked.
    """

    def __init__(self, database: Engine, root: Path, clock: Clock) -> None:
        super().__init__(database, root)
        self._clock, self._until = clock, clock.monotonic() + MOST_SECONDS
        self.is_late = False

    def page(self, tier: Tier, camera: str, after: Place | None, before_us: int | None) -> list[Item]:
        """See ``View``."""
        if self._clock.monotonic() >= self._until:
            self.is_late = True
            return []
        return super().page(tier, camera, after, before_us)


class WhatIf:
    """Makes plans of changed rules, one at a time. Thread-safe."""

    def __init__(
        self,
        *,
        settings: Callable[[], RetentionSettings],
        now_us: Callable[[], int | None],
        database: Engine,
        root: Path,
        archive: Path | None,
        holds: HoldBook,
        clock: Clock,
    ) -> None:
        """Plans nothing yet.

        Args:
            settings: returns those that hold.
            now_us: returns the time that ages are counted by; None while no clock can be trusted.
            root: the store's folder.
            archive: that of video and thumbnails; None if they are in a bucket.
            clock: for how long a plan is made.
        """
        self._settings, self._now_us, self._database = settings, now_us, database
        self._root, self._archive, self._holds = root, archive, holds
        self._clock, self._lock = clock, threading.Lock()

    def plan(self, changes: Iterable[str]) -> Plan:
        """What would go now with changed rules.

        Args:
            changes: each as KEY=VALUE below ``retention``.

        Raises:
            ConfigError: there can be no such rule.
            BusyError: another plan is being made.
            StorageError: the disk does not say how full it is.
            SQLAlchemyError: the database does not answer.
        """
        policy = Policy.of(changed(self._settings(), list(changes)))
        if not self._lock.acquire(blocking=False):
            raise BusyError("somebody else's plan is being made", _RETRY_SECONDS)
        try:
            now_us = self._now_us()
            view = _HastyView(self._database, self._root, self._clock)
            holds = self._holds.active(now_us)
            looked = planning(policy, view, self._database, self._root, self._archive, holds, now_us)
            deletions: dict[Deletion, tuple[int, int]] = {}
            for each in looked.planned():
                key = Deletion(each.item.camera, each.item.tier, each.reason)
                items, size = deletions.get(key, (0, 0))
                deletions[key] = items + 1, size + each.item.disk_bytes
            return Plan(dict(sorted(deletions.items())), not view.is_late, looked.exhausted and not view.is_late)
        except OSError as error:
            raise storage_error(error, self._root) from None
        finally:
            self._lock.release()


def changed(settings: RetentionSettings, changes: Sequence[str]) -> RetentionSettings:
    """Settings with some of them changed, checked like those of a file.

    Args:
        settings: that are changed.
        changes: each as KEY=VALUE, such as ``video.max_age_seconds=2592000``.

    Raises:
        ConfigError: there can be no such settings.
    """
    if len(changes) > MOST_CHANGES or any(len(change) > _MOST_CHARACTERS for change in changes):
        raise ConfigError(f"a plan takes {MOST_CHANGES} changes of {_MOST_CHARACTERS} characters at most")
    # Of a camera's own rules only what was set takes the place of the common ones.
    said: dict[str, Any] = settings.model_dump(mode="json", exclude_unset=True)
    for name, value in parse_assignments(changes).items():
        *sections, last = name.split(".")
        place = said
        for section in sections:
            inner = place.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"retention.{name[:80]} cannot be changed by itself: {section} is no section")
            place = inner
        place[last] = value
    try:
        return RetentionSettings.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(("retention", *(str(part)[:80] for part in first["loc"])))
        message = (
            "unknown setting" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        )
        raise ConfigError(f"{where}: {message}") from None
