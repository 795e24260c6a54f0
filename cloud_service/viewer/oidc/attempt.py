"""A login under way at the provider: what the browser keeps meanwhile, so that nobody else can finish it."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from urllib.parse import quote, unquote

_SEED_BYTES = 32
_SEED = re.compile(r"[A-Za-z0-9_-]{43}")
_MOST_CHARACTERS = 3000
SECONDS = 600
"""For a person to log in at the provider."""


@dataclass(frozen=True)
class Attempt:
    """What belongs to one login: three values that are made of one secret, which only the browser has.

    Attributes:
        seed: the secret, 256 random bits as text.
        after: path of the viewer that the person wanted.
    """

    seed: str
    after: str

    @staticmethod
    def new(after: str) -> Attempt:
        """A new one."""
        return Attempt(secrets.token_urlsafe(_SEED_BYTES), after)

    @staticmethod
    def of(cookie: str) -> Attempt | None:
        """What a browser shows; None if that is none. ``after`` is whatever it says, and has to be checked."""
        seed, _, after = cookie.partition(".")
        if len(cookie) > _MOST_CHARACTERS or not _SEED.fullmatch(seed):
            return None
        return Attempt(seed, unquote(after))

    @property
    def cookie(self) -> str:
        """For the browser to keep."""
        text = f"{self.seed}.{quote(self.after, safe='')}"
        return text if len(text) <= _MOST_CHARACTERS else f"{self.seed}.%2F"

    @property
    def state(self) -> str:
        """Comes back with the person: that this browser began the login."""
        return self._made("state")

    @property
    def nonce(self) -> str:
        """Stands in the ID token: that it was made for this login."""
        return self._made("nonce")

    @property
    def verifier(self) -> str:
        """Shown with the code: that whoever has the code began the login (PKCE)."""
        return self._made("verifier")

    def _made(self, what: str) -> str:
        return hashlib.sha256(f"icm-oidc-1 {what} {self.seed}".encode()).hexdigest()
