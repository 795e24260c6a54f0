"""The rules that hold, and those that wait for an operator as they would delete too much at once."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from cloud_service.database.usage import Tier, UsageKey, read_usage
from cloud_service.retention.policy import Policy
from cloud_service.retention.view import DatabaseView
from cloud_service.retention_settings import RetentionSettings
from icm.atomic_file import write_atomically
from icm.errors import storage_error
from icm.service.health import Problems

log = logging.getLogger(__name__)
APPLIED_NAME = "retention.json"
MOST_CHANGED = 0.1
"""How much of anything a change of the rules may delete without being asked for."""


def as_json(settings: RetentionSettings) -> dict[str, Any]:
    """The settings, from which the same can be made.

    Of all cameras also what nobody set, so that another default in a later version counts as a change; of single ones
    only what was set, as each field that is set takes the place of the common one.
    """
    said: dict[str, Any] = settings.model_dump(mode="json")
    own = settings.model_dump(mode="json", include={"cameras"}, exclude_unset=True)
    return said | {"cameras": own.get("cameras", [])}


class Rules:
    """Belongs to one thread.

    Attributes:
        held: those that hold.
        waiting: whether those that the settings name wait for ``apply``.
    """

    def __init__(
        self,
        *,
        root: Path,
        wanted: Policy,
        view: DatabaseView,
        database: Engine,
        now_us: Callable[[], int | None],
        problems: Problems,
    ) -> None:
        """Begins with those of the settings, unless they would delete much more than those before.

        Args:
            root: the store's folder, which remembers what held.
            now_us: returns the time that ages are counted by, microseconds since 1970; None while there is none.

        Raises:
            StorageError: what was applied last cannot be read.
        """
        self._path, self._view, self._database, self._now_us = root / APPLIED_NAME, view, database, now_us
        self._part = problems.part("retention's rules")
        self.waiting = False
        self.held = Policy.none()
        applied = self._applied()
        if applied is not None:
            self.held = Policy.of(type(wanted.settings).model_validate(applied))
        self._wanted = wanted
        self.propose(wanted)

    def propose(self, wanted: Policy) -> None:
        """Takes rules up, unless they would delete much more than those that hold.

        Raises:
            StorageError: the disk refused.
        """
        self._wanted = wanted
        over = self._too_much(wanted) if self._applied() != as_json(wanted.settings) else ""
        if not over:
            self.apply()
            return
        self.waiting = True
        text = f"the settings would delete {over}: `icm-cloud retention plan` shows it, `... apply` does it"
        self._part.report(text)
        log.warning("retention goes on with the rules before: %s", text)

    def apply(self) -> None:
        """The rules of the settings hold, whatever they delete.

        Raises:
            StorageError: the disk refused.
        """
        try:
            write_atomically(self._path, json.dumps(as_json(self._wanted.settings), indent=1) + "\n")
        except OSError as error:
            raise storage_error(error, self._path) from None
        self.held, self.waiting = self._wanted, False
        self._part.clear()

    def _applied(self) -> object | None:
        """The settings that were applied last, as JSON; None if nobody knows."""
        try:
            return json.loads(self._path.read_bytes()) if self._path.exists() else None
        except OSError as error:
            raise storage_error(error, self._path) from None
        except ValueError:
            log.error("%s is damaged: what it said was applied does not count", self._path)
            return None

    def _too_much(self, policy: Policy) -> str:
        """What new rules would delete too much of at once, for a person; empty if of nothing."""
        now = self._now_us()
        usage = read_usage(self._database)
        taken = {key: amount.disk_bytes for key, amount in usage.items()}
        index = {UsageKey(camera, Tier.INDEX): self._view.bytes_before(Tier.INDEX, camera) for camera, _ in taken}
        for (camera, tier), size in sorted((taken | index).items()):
            going = 0
            rules = policy.camera(camera)
            if tier not in rules.tiers or not size:
                continue
            ages = rules.lines(tier)
            if ages and now is not None:
                going = self._view.bytes_before(tier, camera, now - ages[-1])
            if (most := rules.tiers[tier].max_bytes) is not None:
                going = max(going, size - most)
            if going > MOST_CHANGED * size:
                return f"up to {going} of {size} bytes of {tier} of {camera}"
        total = sum(taken.values())
        if policy.total_bytes is not None and total - policy.total_bytes > MOST_CHANGED * total:
            return f"{total - policy.total_bytes} of {total} bytes in all"
        return ""
