"""The page of the audit log: who did what, the newest first, and whether the chain holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cloud_service.viewer.accounts.audit import AuditLog
from cloud_service.viewer.accounts.notes import Notes
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates
from icm.errors import ProofError

AUDIT = "/admin/audit"
_ENTRIES = 100


@dataclass(frozen=True)
class AuditPages:
    """For who administers.

    Attributes:
        audit: the log.
        notes: in it: that somebody had it checked.
        templates: for the page.
    """

    audit: AuditLog
    notes: Notes
    templates: Templates

    def pages(self) -> list[Page]:
        """For the routes."""
        right = Right.ADMINISTER
        return [
            Page(AUDIT, self._page, right),
            Page(AUDIT + "/verify", self._verify, right, ("POST",)),
        ]

    async def _page(self, request: Request) -> Response:
        return await self._show(request, "", "")

    async def _show(self, request: Request, verdict: str, problem: str) -> Response:
        before = request.query_params.get("before", "")
        page = await asyncio.to_thread(self.audit.page, before, _ENTRIES)
        values: dict[str, Any] = {"entries": page.entries, "older": page.older, "verdict": verdict, "problem": problem}
        return self.templates.page(request, "audit.html", is_newest=not before, **values)

    async def _verify(self, request: Request) -> Response:
        verdict = problem = ""
        try:
            head = await asyncio.to_thread(self.audit.verify)
            verdict = f"The log is whole up to entry {head.number}, whose digest is {head.digest}"
        except ProofError as error:
            problem = str(error)
        await self.notes.did(request.state.visitor, "audit-checked", problem and "broken")
        return await self._show(request, verdict, problem)
