"""The way to the login provider and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud_service.viewer.accounts.cookies import SessionCookie
from cloud_service.viewer.accounts.login import Login
from cloud_service.viewer.accounts.login_limits import LoginLimits
from cloud_service.viewer.oidc.accounts import ProviderAccounts
from cloud_service.viewer.oidc.attempt import SECONDS, Attempt
from cloud_service.viewer.oidc.provider import NOT_BEGUN_HERE, Provider
from cloud_service.viewer.pages.entrance import own_path
from cloud_service.viewer.web.errors import LOGIN, status_of
from cloud_service.viewer.web.flash import redirect
from cloud_service.viewer.web.routes import Page, Right
from icm.errors import BusyError, ConfigError, IcmError, PermissionDeniedError, UnauthenticatedError

PROVIDER = LOGIN + "/provider"
CALLBACK = PROVIDER + "/callback"
LEAVE = "/logout/provider"


@dataclass(frozen=True)
class OidcPages:
    """Login at the provider.

    Attributes:
        provider: that is asked.
        accounts: that follow it.
        login: begins sessions.
        limits: how often an address may fail.
        cookie: of sessions.
        secure: whether browsers come over TLS.
        origin: how they reach the viewer.
        form: the page with the login, for a request, the path behind it, a problem and a status.
    """

    provider: Provider
    accounts: ProviderAccounts
    login: Login
    limits: LoginLimits
    cookie: SessionCookie
    secure: bool
    origin: str
    form: Callable[[Request, str, str, int], Response]

    def pages(self) -> list[Page]:
        """For the routes."""
        return [
            Page(PROVIDER, self._begin, Right.PUBLIC),
            Page(CALLBACK, self._back, Right.PUBLIC),
            Page(LEAVE, self._leave, Right.PUBLIC),
        ]

    async def _begin(self, request: Request) -> Response:
        attempt = Attempt.new(own_path(request.query_params.get("next", "")))
        try:
            address = await self.provider.login_address(attempt)
        except IcmError as error:
            return self.form(request, attempt.after, str(error), status_of(error))
        response = RedirectResponse(address, 303)
        response.set_cookie(
            self._name, attempt.cookie, max_age=SECONDS, path="/", secure=self.secure, httponly=True, samesite="lax"
        )
        return response

    async def _back(self, request: Request) -> Response:
        attempt = Attempt.of(request.cookies.get(self._name, ""))
        after = own_path(attempt.after) if attempt else "/"
        try:
            response = await self._admit(request, attempt, after)
        except IcmError as error:
            response = self.form(request, after, str(error), status_of(error))
            if isinstance(error, BusyError):
                response.headers["retry-after"] = str(round(error.retry_seconds))
        response.delete_cookie(self._name, path="/", secure=self.secure, httponly=True, samesite="lax")
        return response

    async def _admit(self, request: Request, attempt: Attempt | None, after: str) -> Response:
        address, login = request.state.address, self.login
        if attempt is None:
            raise UnauthenticatedError(NOT_BEGUN_HERE)
        code = self.provider.code_of(attempt, request.query_params)
        try:
            # The address stands for the account, whose name is known only behind the provider's answer.
            self.limits.check(address, address)
        except BusyError:
            login.attempts.labels("refused").inc()
            raise
        who = "unknown"
        try:
            proven = await self.provider.prove(attempt, code)
            who = proven.name[:64]
            name = await self.accounts.account_of(proven, address)
        except (UnauthenticatedError, PermissionDeniedError, ConfigError) as error:
            if isinstance(error, UnauthenticatedError):
                self.limits.failed(address, address)
            login.attempts.labels("failed").inc()
            await login.notes.write(who, address, "log-in-failed", f"login provider: {error}")
            raise
        shown = await login.admit(name, address, request.headers.get("user-agent", ""), "login provider")
        before = request.state.visitor
        if before is not None and before.session:
            await asyncio.to_thread(login.sessions.end, before.name, before.session)
        response = redirect(after)
        self.cookie.give(response, shown)
        return response

    async def _leave(self, request: Request) -> Response:
        try:
            address = await self.provider.logout_address(self.origin + LOGIN)
        except IcmError as error:
            return self.form(request, "/", str(error), status_of(error))
        return redirect(LOGIN) if address is None else RedirectResponse(address, 303)

    @property
    def _name(self) -> str:
        return "__Host-icm-login" if self.secure else "icm-login"
