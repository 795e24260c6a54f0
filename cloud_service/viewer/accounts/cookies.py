"""The cookie of a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from cloud_service.viewer.accounts.sessions import LONGEST_US

_MOST_CHARACTERS = 128


@dataclass(frozen=True)
class SessionCookie:
    """What browsers show, for as long as a session can last.

    Attributes:
        secure: whether browsers come over TLS. The cookie's name then has them take it from this host alone and over
            nothing else; without TLS, as on this machine, browsers would not keep such a cookie.
    """

    secure: bool

    @property
    def name(self) -> str:
        """Of the cookie."""
        return "__Host-icm" if self.secure else "icm-session"

    def of(self, connection: Any) -> str | None:
        """What a browser shows; None for nothing.

        Args:
            connection: a request or a WebSocket.
        """
        shown: str = connection.cookies.get(self.name, "")
        return shown if 0 < len(shown) <= _MOST_CHARACTERS else None

    def give(self, response: Response, shown: str) -> None:
        """Has the browser show something from now on."""
        seconds = LONGEST_US // 1_000_000
        response.set_cookie(
            self.name, shown, max_age=seconds, path="/", secure=self.secure, httponly=True, samesite="lax"
        )

    def take(self, response: Response) -> None:
        """Has the browser forget it."""
        response.delete_cookie(self.name, path="/", secure=self.secure, httponly=True, samesite="lax")
