"""What a room adds to the viewer: addresses, what answers them, and what a visitor must be allowed there.

Nothing of a framework is made here: ``accounts.guard`` turns each of these into a route that asks who comes before
anything else, and the viewer has no other routes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

PageEndpoint = Callable[[Request], Awaitable[Response]]
SocketEndpoint = Callable[[WebSocket], Awaitable[None]]
UNSAFE = frozenset(("POST", "PUT", "PATCH", "DELETE"))
"""Methods that change something."""


class Right(Enum):
    """What a visitor must be allowed."""

    NONE = "none"
    """Nothing, and who comes is not looked at."""
    PUBLIC = "public"
    """Nothing: who is not logged in may come too."""
    VIEW = "view"
    """Look at cameras."""
    OPERATE = "operate"
    """Hold, export, and have the past looked at again."""
    ADMINISTER = "administer"
    """Users, tokens, the audit log, and what is deleted."""


@dataclass(frozen=True)
class Page:
    """An address that is answered over HTTP. Its endpoint finds the visitor in ``request.state.visitor``.

    Attributes:
        path: as Starlette writes it. ``{camera}`` in it is the name of a camera, and is checked: one that the visitor
            may not see is not there.
        endpoint: answers.
        right: what a visitor must be allowed.
        methods: of HTTP. Those that change something are refused unless they come from a page of the viewer.
        feed: whether other programs may read it with a token of scope ``feed``, in the query too.
    """

    path: str
    endpoint: PageEndpoint
    right: Right
    methods: tuple[str, ...] = ("GET",)
    feed: bool = False


@dataclass(frozen=True)
class Socket:
    """An address of a WebSocket. Its endpoint finds the visitor in ``socket.state.visitor``, and accepts. It is
    cancelled when the visitor may be there no more; while they may, ``state.visitor`` follows what they may see.

    Attributes:
        path: as of ``Page``.
        endpoint: talks.
        right: what a visitor must be allowed.
    """

    path: str
    endpoint: SocketEndpoint
    right: Right


Entry = Page | Socket
"""Who talks over a WebSocket is looked up meanwhile; an answer that lasts calls ``request.state.admit()`` itself."""


def asks_for_a_page(connection: Any) -> bool:
    """Whether who asks wants a page to look at, as a browser does, and not data.

    Args:
        connection: a request or a WebSocket.
    """
    return "text/html" in connection.headers.get("accept", "")
