"""What pages write into the audit log: beside their work, and what is looked at again and again once in a while."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict

from cloud_service.viewer.accounts.audit import AuditLog
from cloud_service.viewer.accounts.roles import Visitor
from icm.errors import IcmError
from icm.service.clock import Clock
from icm.service.health import Problems

log = logging.getLogger(__name__)
_AGAIN_SECONDS = 600.0
_MOST_REMEMBERED = 10_000


class Notes:
    """Writes the audit log for pages. A disk that takes no line keeps nobody out, as somebody has to free it: the
    viewer's health says so.
    """

    def __init__(self, audit: AuditLog, clock: Clock, problems: Problems) -> None:
        """Of a log."""
        self._audit, self._clock = audit, clock
        self._part = problems.part("audit log")
        self._seen: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    async def write(self, who: str, address: str, action: str, about: str = "") -> None:
        """Notes what was done, or refused.

        Args:
            who: name of the account, or what was given for one.
            address: where it came from.
            action: what, such as ``log-in``.
            about: to what or whom.
        """
        try:
            await asyncio.to_thread(self._audit.write, who, address, action, about)
        except IcmError as error:
            if self._part.report(str(error)):
                log.error("the audit log lacks that %s did %s: %s", who, action, error)
        else:
            self._part.clear()

    async def did(self, visitor: Visitor, action: str, about: str = "") -> None:
        """Notes what a visitor did."""
        who = f"{visitor.name}:{visitor.token}" if visitor.token else visitor.name
        await self.write(who, visitor.address, action, about)

    async def looked(self, visitor: Visitor, action: str, about: str) -> None:
        """Notes what a visitor looks at, the same thing every ten minutes at most.

        Args:
            visitor: who looks.
            action: how, such as ``live``.
            about: at what, such as a camera and an hour.
        """
        now, key = self._clock.monotonic(), (f"{visitor.name}:{visitor.token}", action, about)
        noted = self._seen.get(key)
        if noted is not None and now - noted < _AGAIN_SECONDS:
            return
        self._seen[key] = now
        self._seen.move_to_end(key)
        while len(self._seen) > _MOST_REMEMBERED:
            self._seen.popitem(last=False)
        await self.did(visitor, action, about)
