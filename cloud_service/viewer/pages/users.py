"""The pages of accounts: who there is, what they may do, and which cameras they see."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import Response

from cloud_service.viewer.accounts.login import Login
from cloud_service.viewer.accounts.passwords import LEAST_CHARACTERS, check_password
from cloud_service.viewer.accounts.records import User
from cloud_service.viewer.accounts.roles import Role, camera_patterns
from cloud_service.viewer.web.errors import status_of
from cloud_service.viewer.web.flash import redirect
from cloud_service.viewer.web.forms import read_form
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates
from icm.errors import ConfigError, NotFoundError

USERS = "/admin/users"


@dataclass(frozen=True)
class UserPages:
    """For who administers.

    Attributes:
        login: the book of accounts, passwords and sessions.
        templates: for the pages.
    """

    login: Login
    templates: Templates

    def pages(self) -> list[Page]:
        """For the routes."""
        right = Right.ADMINISTER
        return [
            Page(USERS, self._users, right, ("GET", "POST")),
            Page(USERS + "/{name}", self._user, right, ("GET", "POST")),
            Page(USERS + "/{name}/delete", self._delete, right, ("POST",)),
        ]

    async def _users(self, request: Request) -> Response:
        form: dict[str, str] = {}
        problem, status = "", 200
        if request.method == "POST":
            form = await read_form(request)
            try:
                return await self._add(request, form)
            except ConfigError as error:
                problem, status = str(error), status_of(error)
        values = {"users": self.login.book.users(), "form": form, "problem": problem}
        return self.templates.page(request, "users.html", status, roles=list(Role), least=LEAST_CHARACTERS, **values)

    async def _add(self, request: Request, form: dict[str, str]) -> Response:
        login, now = self.login, self.login.clock.now_us()
        name, password = form.get("name", "").strip().lower(), form.get("password", "")
        user = User(name, Role.of(form.get("role", "")), _cameras(form), "", now)
        check_password(password, name)
        user = replace(user, password=await asyncio.to_thread(login.passwords.hash, password))
        await asyncio.to_thread(login.book.add_user, user)
        await login.notes.did(request.state.visitor, "user-added", _described(user))
        return redirect(USERS, "user-added", name)

    async def _user(self, request: Request) -> Response:
        user, problem, status = self._known(request), "", 200
        if request.method == "POST":
            form = await read_form(request)
            try:
                return await self._change(request, user.name, form)
            except ConfigError as error:
                problem, status = str(error), status_of(error)
        values = {"user": user, "problem": problem, "roles": list(Role), "least": LEAST_CHARACTERS}
        return self.templates.page(request, "user.html", status, **values)

    async def _change(self, request: Request, name: str, form: dict[str, str]) -> Response:
        login, now, password = self.login, self.login.clock.now_us(), form.get("password", "")
        role, cameras, disabled = Role.of(form.get("role", "")), _cameras(form), "disabled" in form
        kept = ""
        if password:
            check_password(password, name)
            kept = await asyncio.to_thread(login.passwords.hash, password)

        def changed(user: User) -> User:
            user = replace(user, role=role, cameras=cameras, disabled=disabled)
            return replace(user, password=kept, sessions_from_us=now) if kept else user

        user = await asyncio.to_thread(login.book.change_user, name, changed)
        if kept or disabled:
            await asyncio.to_thread(login.sessions.end_all, name)
        about = _described(user) + (" new password" if kept else "")
        await login.notes.did(request.state.visitor, "user-changed", about)
        return redirect(USERS, "user-changed", name)

    async def _delete(self, request: Request) -> Response:
        name = self._known(request).name
        await asyncio.to_thread(self.login.book.delete_user, name)
        await asyncio.to_thread(self.login.sessions.end_all, name)
        await self.login.notes.did(request.state.visitor, "user-deleted", name)
        return redirect(USERS, "user-deleted", name)

    def _known(self, request: Request) -> User:
        name = request.path_params["name"]
        user = self.login.book.user(name)
        if user is None:
            raise NotFoundError(f"there is no account {name[:80]!r}: it may have been deleted")
        return user


def _cameras(form: dict[str, str]) -> tuple[str, ...]:
    return camera_patterns(form.get("cameras", "").replace(",", " ").split())


def _described(user: User) -> str:
    return f"{user.name} {user.role} {' '.join(user.cameras)}" + (" disabled" if user.disabled else "")
