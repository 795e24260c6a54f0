"""The pages at which nobody is logged in yet, and the way out."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from cloud_service.viewer.accounts.cookies import SessionCookie
from cloud_service.viewer.accounts.login import Login
from cloud_service.viewer.accounts.passwords import LEAST_CHARACTERS
from cloud_service.viewer.web.errors import LOGIN, status_of
from cloud_service.viewer.web.flash import redirect
from cloud_service.viewer.web.forms import read_form
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates
from icm.errors import BusyError, ConfigError, UnauthenticatedError

_MOST_NEXT = 2000
# A path of this site: `//host` and `/\host` are other sites to browsers.
_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")


@dataclass(frozen=True)
class EntrancePages:
    """Login, logout and the making of the first account.

    Attributes:
        login: checks.
        cookie: that browsers show.
        templates: for the pages.
        provider: what the way to the login provider is called; empty where there is none.
    """

    login: Login
    cookie: SessionCookie
    templates: Templates
    provider: str = ""

    def pages(self) -> list[Page]:
        """For the routes."""
        return [
            Page(LOGIN, self._login, Right.PUBLIC, ("GET", "POST")),
            Page("/setup/{secret}", self._setup, Right.PUBLIC, ("GET", "POST")),
            Page("/logout", self._logout, Right.VIEW, ("POST",)),
        ]

    async def _login(self, request: Request) -> Response:
        if request.method != "POST":
            after = own_path(request.query_params.get("next", ""))
            return redirect(after) if request.state.visitor else self.form(request, after, "", 200)
        form = await read_form(request)
        name, after = form.get("name", ""), own_path(form.get("next", ""))
        browser = request.headers.get("user-agent", "")
        try:
            shown = await self.login.begin(name, form.get("password", ""), request.state.address, browser)
        except (UnauthenticatedError, BusyError) as error:
            response = self.form(request, after, str(error), status_of(error), name)
            if isinstance(error, BusyError):
                response.headers["retry-after"] = str(round(error.retry_seconds))
            return response
        before = request.state.visitor
        if before is not None and before.session:
            await asyncio.to_thread(self.login.sessions.end, before.name, before.session)
        response = redirect(after)
        self.cookie.give(response, shown)
        return response

    def form(self, request: Request, after: str, problem: str, status: int, name: str = "") -> Response:
        """The page with the login.

        Args:
            request: that it answers.
            after: path to go on at.
            problem: why nobody is logged in yet; empty for none.
            status: of HTTP.
            name: that was given.
        """
        empty = self.login.book.is_empty
        return self.templates.page(
            request, "login.html", status, name=name[:64], next=after, problem=problem, empty=empty,
            provider=self.provider,
        )  # fmt: skip

    async def _setup(self, request: Request) -> Response:
        secret, name, problem, status = request.path_params["secret"], "", "", 200
        self.login.check_secret(secret)
        if request.method == "POST":
            form = await read_form(request)
            name, password = form.get("name", "").strip().lower(), form.get("password", "")
            try:
                await self.login.make_first(secret, name, password, request.state.address)
                browser = request.headers.get("user-agent", "")
                shown = await self.login.begin(name, password, request.state.address, browser)
            except ConfigError as error:
                problem, status = str(error), status_of(error)
            else:
                response = redirect("/")
                self.cookie.give(response, shown)
                return response
        values = {"name": name[:64], "problem": problem, "least": LEAST_CHARACTERS}
        return self.templates.page(request, "setup.html", status, **values)

    async def _logout(self, request: Request) -> Response:
        visitor = request.state.visitor
        await asyncio.to_thread(self.login.sessions.end, visitor.name, visitor.session)
        await self.login.notes.did(visitor, "log-out")
        response = redirect(LOGIN, "logged-out")
        self.cookie.take(response)
        return response


def own_path(text: str) -> str:
    """A path of this site that somebody is sent on to; ``/`` where a text is none, as what leads to another site."""
    return text if len(text) <= _MOST_NEXT and _PATH.fullmatch(text) else "/"
