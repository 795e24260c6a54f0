"""The one place that every request passes: who is this, what may they do, which cameras do they see, and does it come
from a page of the viewer.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketState

from cloud_service.viewer.accounts.book import AccountBook
from cloud_service.viewer.accounts.cookies import SessionCookie
from cloud_service.viewer.accounts.proxy import Named, Proxies
from cloud_service.viewer.accounts.records import Scope, Token, is_token, token_id
from cloud_service.viewer.accounts.roles import Allowed, Visitor, no_such_camera
from cloud_service.viewer.accounts.sessions import Sessions, csrf_of
from cloud_service.viewer.web.errors import status_of
from cloud_service.viewer.web.forms import CSRF_FIELD, read_form
from cloud_service.viewer.web.routes import UNSAFE, Entry, Page, Right, Socket
from icm.camera_name import check_camera_name
from icm.errors import ConfigError, IcmError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from icm.service.clock import Clock

log = logging.getLogger(__name__)
CSRF_HEADER = "x-csrf-token"
TOKEN_PARAMETER = "token"
_BEARER = "bearer "
_MOST_NAME = 200
_LOOK_AGAIN_SECONDS = 5.0
_REFUSED_SOCKET = 4000
"""Added to a status of HTTP, for the code that a WebSocket is closed with."""


@dataclass(frozen=True)
class Guard:
    """Turns what rooms offer into routes that nobody passes unasked.

    Attributes:
        book: of the accounts.
        sessions: of browsers.
        cookie: that browsers show.
        proxies: which are believed.
        origin: how browsers reach the viewer; None: as they say themselves.
        clock: for what ends.
        key: of this process, for the forms of those whom a proxy names.
    """

    book: AccountBook
    sessions: Sessions
    cookie: SessionCookie
    proxies: Proxies
    origin: str | None
    clock: Clock
    key: bytes

    @staticmethod
    def of(
        *,
        book: AccountBook,
        sessions: Sessions,
        cookie: SessionCookie,
        proxies: Proxies,
        origin: str | None,
        clock: Clock,
    ) -> Guard:
        """One with a new key."""
        return Guard(book, sessions, cookie, proxies, origin, clock, secrets.token_bytes(32))

    def routes(self, entries: Sequence[Entry]) -> list[BaseRoute]:
        """The routes of an application."""
        return [self._page(entry) if isinstance(entry, Page) else self._socket(entry) for entry in entries]

    def _page(self, page: Page) -> Route:
        async def guarded(request: Request) -> Response:
            request.scope["page"] = page.path
            request.state.visitor = None
            if page.right is not Right.NONE:
                request.state.visitor = await self._admit(request, page)
                request.state.admit = partial(self._admit, request, page)
            return await page.endpoint(request)

        guarded.entry = page  # type: ignore[attr-defined]  # for who walks the routes
        return Route(page.path, guarded, methods=list(page.methods), name=page.path)

    def _socket(self, entry: Socket) -> WebSocketRoute:
        async def guarded(socket: WebSocket) -> None:
            try:
                visitor = await self._admit(socket, entry)
            except IcmError as error:
                # Before it is accepted, a server answers 403 to this.
                await socket.close(_REFUSED_SOCKET + status_of(error), str(error)[:120])
                return
            socket.state.visitor = visitor
            await self._watched(socket, entry)

        guarded.entry = entry  # type: ignore[attr-defined]
        return WebSocketRoute(entry.path, guarded, name=entry.path)

    async def _watched(self, socket: WebSocket, entry: Socket) -> None:
        """Talks for as long as the visitor may: who is logged out, or loses the right, is cut off within seconds."""
        talk = asyncio.ensure_future(entry.endpoint(socket))
        try:
            while not (await asyncio.wait({talk}, timeout=_LOOK_AGAIN_SECONDS))[0]:
                try:
                    socket.state.visitor = await self._admit(socket, entry)
                except (UnauthenticatedError, PermissionDeniedError, NotFoundError) as error:
                    talk.cancel()
                    await asyncio.wait({talk})
                    if socket.application_state is WebSocketState.CONNECTED:
                        await socket.close(_REFUSED_SOCKET + status_of(error), str(error)[:120])
                    return
                except IcmError as error:
                    log.warning("going on with %s, as nobody can tell whether its session lasts: %s", entry.path, error)
            talk.result()
        finally:
            talk.cancel()

    async def _admit(self, connection: HTTPConnection, entry: Entry) -> Visitor | None:
        """Who it is.

        Returns:
            None: nobody, at an address where that is allowed.

        Raises:
            UnauthenticatedError: nobody is logged in, or a token counts no more.
            PermissionDeniedError: this visitor may not do that, or the request comes from elsewhere.
            NotFoundError: it is about a camera that this visitor does not see.
        """
        visitor = await self._who(connection, entry)
        if visitor is None and entry.right is not Right.PUBLIC:
            raise UnauthenticatedError("log in first, or show an API token: `Authorization: Bearer ...`")
        if visitor is not None and not visitor.may(entry.right):
            what = f"is a {visitor.role}" if not visitor.token else "comes with a token"
            raise PermissionDeniedError(
                f"{visitor.name} {what}, which does not let them {entry.right.value} here: ask who administers"
            )
        self._check_camera(connection, visitor)
        await self._check_origin(connection, entry, visitor)
        return visitor

    async def _who(self, connection: HTTPConnection, entry: Entry) -> Visitor | None:
        address = self.proxies.address_of(connection)
        connection.state.address = address
        shown = connection.headers.get("authorization", "")
        if shown[: len(_BEARER)].lower() == _BEARER:
            return self._of_token(shown[len(_BEARER) :].strip(), address, entry, in_query=False)
        is_feed = isinstance(entry, Page) and entry.feed
        if is_feed and TOKEN_PARAMETER in connection.query_params:
            return self._of_token(connection.query_params[TOKEN_PARAMETER], address, entry, in_query=True)
        named = self.proxies.named(connection)
        if named is not None:
            return self._of_proxy(named, address)
        cookie = self.cookie.of(connection)
        return None if cookie is None else await self._of_session(cookie, address)

    async def _of_session(self, shown: str, address: str) -> Visitor | None:
        session = await asyncio.to_thread(self.sessions.find, shown)
        user = None if session is None else self.book.user(session.user)
        if session is None or user is None or user.disabled:
            return None
        if session.created_us < max(user.sessions_from_us, user.created_us):
            return None
        return Visitor(
            name=user.name, role=user.role, cameras=user.cameras, rights=user.role.rights, address=address,
            csrf=csrf_of(shown), session=session.id,
        )  # fmt: skip

    def _of_token(self, text: str, address: str, entry: Entry, *, in_query: bool) -> Visitor:
        token = self.book.token(token_id(text) or "")
        owner = None if token is None else self.book.user(token.owner)
        known = token is not None and is_token(text, token, self.clock.now_us())
        if token is None or owner is None or not known or owner.disabled:
            raise UnauthenticatedError("this API token is none, was revoked, or has ended: make a new one")
        rights = _rights_of(token, entry, in_query) & owner.role.rights
        return Visitor(
            name=owner.name, role=owner.role, cameras=owner.cameras, within=token.cameras, rights=rights,
            address=address, token=token.id,
        )  # fmt: skip

    def _of_proxy(self, named: Named, address: str) -> Visitor:
        if len(named.name) > _MOST_NAME or not named.name.isprintable():
            raise PermissionDeniedError("the proxy names somebody by a name that is none: look at its settings")
        user = self.book.user(named.name)
        allowed = named.allowed if user is None else Allowed(user.role, user.cameras)
        if allowed is None or (user is not None and user.disabled):
            raise PermissionDeniedError(
                f"{named.name} has no account here and no group with a role: ask who administers"
            )
        csrf = hmac.new(self.key, named.name.encode(), hashlib.sha256).hexdigest()
        return Visitor(
            name=named.name, role=allowed.role, cameras=allowed.cameras, rights=allowed.role.rights, address=address,
            csrf=csrf,
        )  # fmt: skip

    @staticmethod
    def _check_camera(connection: HTTPConnection, visitor: Visitor | None) -> None:
        camera: str | None = connection.path_params.get("camera")
        if camera is None:
            return
        try:
            check_camera_name(camera)
        except ConfigError:
            raise no_such_camera(camera) from None
        if visitor is None:
            raise no_such_camera(camera)
        visitor.check_sees(camera)

    async def _check_origin(self, connection: HTTPConnection, entry: Entry, visitor: Visitor | None) -> None:
        """Refuses what another site has a browser do: its cookies come along, a token does not."""
        if visitor is not None and visitor.token:
            return
        if isinstance(entry, Socket):
            if not self._is_ours(connection):
                raise PermissionDeniedError("this connection comes from another site")
            return
        if not isinstance(connection, Request) or connection.method not in UNSAFE:
            return
        if not self._is_ours(connection):
            raise PermissionDeniedError("this form comes from another site, or the browser does not say from where")
        # Where nobody need be logged in, a form may be older than the session, as of two tabs with the login.
        if visitor is not None and entry.right is not Right.PUBLIC:
            shown = connection.headers.get(CSRF_HEADER)
            if shown is None:
                shown = (await read_form(connection)).get(CSRF_FIELD, "")
            if not secrets.compare_digest(shown.encode(), visitor.csrf.encode()):
                raise PermissionDeniedError("this form is of another session, or too old: load the page and try again")

    def _is_ours(self, connection: Any) -> bool:
        site, origin = connection.headers.get("sec-fetch-site"), connection.headers.get("origin")
        if site is None and origin is None:
            return False
        if site is not None and site != "same-origin":
            return False
        if origin is None:
            return True
        if self.origin is not None:
            return bool(origin == self.origin)
        try:
            return bool(urlsplit(origin).netloc == connection.headers.get("host", ""))
        except ValueError:
            return False


def _rights_of(token: Token, entry: Entry, in_query: bool) -> frozenset[Right]:
    rights: set[Right] = set()
    if Scope.FEED in token.scopes and isinstance(entry, Page) and entry.feed:
        rights |= {Right.PUBLIC, Right.VIEW}
    if not in_query and Scope.READ in token.scopes:
        rights |= {Right.PUBLIC, Right.VIEW}
    if not in_query and Scope.OPERATE in token.scopes:
        rights |= {Right.PUBLIC, Right.VIEW, Right.OPERATE}
    return frozenset(rights)
