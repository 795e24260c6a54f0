"""One message for the next page that is shown, such as "the user was added": in a cookie, to outlive a redirect.

A cookie is whatever a browser sends, so only messages of a fixed list are shown, with one short word at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

_COOKIE = "icm-said"
_MOST_CHARACTERS = 80
_SECONDS = 60
MESSAGES = {
    "logged-out": "You are logged out.",
    "password-changed": "The password was changed. Other sessions of this account have ended.",
    "session-ended": "The session was ended.",
    "sessions-ended": "All other sessions of this account were ended.",
    "user-added": "The account {} was added.",
    "user-changed": "The account {} was changed.",
    "user-deleted": "The account {} was deleted.",
    "export-deleted": "The export was deleted.",
    "hold-added": "The hold {} was added.",
    "hold-released": "The hold {} was released.",
    "redetection-added": "The re-detection {} was added.",
    "redetection-paused": "The re-detection {} stands still before its next segment.",
    "redetection-resumed": "The re-detection {} goes on.",
    "redetection-cancelled": "The re-detection {} was cancelled; what it has found stays.",
    "token-revoked": "The token {} was revoked.",
}


@dataclass(frozen=True)
class Flash:
    """A message; empty where there is none.

    Attributes:
        text: for the page.
    """

    text: str = ""

    def forget(self, response: Response) -> None:
        """Makes an answer that shows it the only one."""
        if self.text:
            response.delete_cookie(_COOKIE, path="/")


def redirect(to: str, message: str = "", word: str = "") -> RedirectResponse:
    """Sends a browser on, by GET.

    Args:
        to: a path of the viewer.
        message: one of ``MESSAGES``, shown on the next page.
        word: what it is about.
    """
    response = RedirectResponse(to, status_code=303)
    if message:
        value = f"{message}:{quote(word[:_MOST_CHARACTERS], safe='')}"
        response.set_cookie(_COOKIE, value, max_age=_SECONDS, path="/", httponly=True, samesite="lax")
    return response


def take_flash(request: Request) -> Flash:
    """The message that a request brings."""
    message, _, word = request.cookies.get(_COOKIE, "").partition(":")
    text = MESSAGES.get(message)
    return Flash() if text is None else Flash(text.format(unquote(word)[:_MOST_CHARACTERS]))
