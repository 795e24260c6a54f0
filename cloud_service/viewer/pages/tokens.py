"""The page of API tokens: whose they are, what they may do; a new one is shown once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from cloud_service.viewer.accounts.login import Login
from cloud_service.viewer.accounts.records import Scope, new_token
from cloud_service.viewer.accounts.roles import camera_patterns
from cloud_service.viewer.web.errors import status_of
from cloud_service.viewer.web.flash import redirect
from cloud_service.viewer.web.forms import read_form
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates
from icm.errors import ConfigError, NotFoundError

TOKENS = "/admin/tokens"
_MOST_DAYS = 3650
_DAY_US = 24 * 3600 * 1_000_000


@dataclass(frozen=True)
class TokenPages:
    """For who administers.

    Attributes:
        login: the book of accounts.
        templates: for the page.
    """

    login: Login
    templates: Templates

    def pages(self) -> list[Page]:
        """For the routes."""
        right = Right.ADMINISTER
        return [
            Page(TOKENS, self._tokens, right, ("GET", "POST")),
            Page(TOKENS + "/revoke", self._revoke, right, ("POST",)),
        ]

    async def _tokens(self, request: Request) -> Response:
        form: dict[str, str] = {}
        new, problem, status = "", "", 200
        if request.method == "POST":
            form = await read_form(request)
            try:
                new = await self._make(request, form)
            except (ConfigError, NotFoundError) as error:
                problem, status = str(error), status_of(error)
        values = {"form": {} if new else form, "problem": problem, "new": new, "now_us": self.login.clock.now_us()}
        book = self.login.book
        return self.templates.page(
            request, "tokens.html", status, tokens=book.tokens(), users=book.users(), scopes=list(Scope), **values
        )

    async def _make(self, request: Request, form: dict[str, str]) -> str:
        now = self.login.clock.now_us()
        days = form.get("days", "")
        if days and not (days.isascii() and days.isdecimal() and len(days) < 5 and 0 < int(days) <= _MOST_DAYS):
            raise ConfigError(f"a token lasts 1 to {_MOST_DAYS} days, or, with that left empty, until it is revoked")
        token, text = new_token(
            name=form.get("name", "").strip(),
            owner=form.get("owner", ""),
            scopes=tuple(scope for scope in Scope if f"scope-{scope}" in form),
            cameras=camera_patterns(form.get("cameras", "").replace(",", " ").split()),
            now_us=now,
            expires_us=now + int(days) * _DAY_US if days else 0,
        )
        await asyncio.to_thread(self.login.book.add_token, token)
        about = f"{token.id} of {token.owner}: {' '.join(token.scopes)} on {' '.join(token.cameras)}"
        await self.login.notes.did(request.state.visitor, "token-made", about)
        return text

    async def _revoke(self, request: Request) -> Response:
        name = (await read_form(request)).get("token", "")
        token = await asyncio.to_thread(self.login.book.delete_token, name)
        await self.login.notes.did(request.state.visitor, "token-revoked", f"{token.id} of {token.owner}")
        return redirect(TOKENS, "token-revoked", token.name)
