"""The page of one's own account: sessions and password."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import Response

from cloud_service.viewer.accounts.cookies import SessionCookie
from cloud_service.viewer.accounts.login import Login
from cloud_service.viewer.accounts.passwords import LEAST_CHARACTERS, check_password
from cloud_service.viewer.accounts.roles import Visitor
from cloud_service.viewer.web.errors import status_of
from cloud_service.viewer.web.flash import redirect
from cloud_service.viewer.web.forms import read_form
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates
from icm.errors import BusyError, ConfigError, NotFoundError, UnauthenticatedError

ACCOUNT = "/account"


@dataclass(frozen=True)
class AccountPages:
    """Of whoever is logged in.

    Attributes:
        login: checks and keeps passwords and sessions.
        cookie: that browsers show.
        templates: for the page.
    """

    login: Login
    cookie: SessionCookie
    templates: Templates

    def pages(self) -> list[Page]:
        """For the routes."""
        return [
            Page(ACCOUNT, self._show, Right.VIEW),
            Page(f"{ACCOUNT}/password", self._change_password, Right.VIEW, ("POST",)),
            Page(f"{ACCOUNT}/sessions/end", self._end, Right.VIEW, ("POST",)),
            Page(f"{ACCOUNT}/sessions/end-others", self._end_others, Right.VIEW, ("POST",)),
        ]

    async def _show(self, request: Request) -> Response:
        return await self._page(request, "", 200)

    async def _page(self, request: Request, problem: str, status: int) -> Response:
        visitor: Visitor = request.state.visitor
        user = self.login.book.user(visitor.name)
        sessions = await asyncio.to_thread(self.login.sessions.of, visitor.name)
        return self.templates.page(
            request,
            "account.html",
            status,
            sessions=sessions,
            has_password=user is not None and bool(user.password),
            least=LEAST_CHARACTERS,
            problem=problem,
        )

    async def _change_password(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        form, login = await read_form(request), self.login
        try:
            await login.check(visitor.name, form.get("password", ""), visitor.address)
            new = form.get("new", "")
            check_password(new, visitor.name)
        except (UnauthenticatedError, BusyError, ConfigError) as error:
            text = str(error)
            if isinstance(error, UnauthenticatedError):
                text = "that is not the present password of this account"
            return await self._page(request, text, 400 if isinstance(error, UnauthenticatedError) else status_of(error))
        kept = await asyncio.to_thread(login.passwords.hash, new)
        now = login.clock.now_us()
        change = login.book.change_user
        await asyncio.to_thread(change, visitor.name, lambda user: replace(user, password=kept, sessions_from_us=now))
        await asyncio.to_thread(login.sessions.end_all, visitor.name)
        browser = request.headers.get("user-agent", "")
        shown = await asyncio.to_thread(login.sessions.begin, visitor.name, visitor.address, browser)
        await login.notes.did(visitor, "password-changed", visitor.name)
        response = redirect(ACCOUNT, "password-changed")
        self.cookie.give(response, shown)
        return response

    async def _end(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        try:
            session = bytes.fromhex((await read_form(request)).get("session", ""))
        except ValueError:
            session = b""
        if not await asyncio.to_thread(self.login.sessions.end, visitor.name, session):
            raise NotFoundError("there is no such session: it may have ended already")
        await self.login.notes.did(visitor, "session-ended", session.hex()[:16])
        return redirect(ACCOUNT, "session-ended")

    async def _end_others(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        await asyncio.to_thread(self.login.sessions.end_all, visitor.name, visitor.session)
        await self.login.notes.did(visitor, "sessions-ended", visitor.name)
        return redirect(ACCOUNT, "sessions-ended")
