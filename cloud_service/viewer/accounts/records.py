"""What is kept of people and of API tokens."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cloud_service.viewer.accounts.roles import EVERY_CAMERA, Role, camera_patterns
from icm.errors import ConfigError

_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_LABEL_CHARACTERS = 80
_ID_BYTES = 4
_SECRET_BYTES = 32
_TOKEN = re.compile(r"icm_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class User:
    """A person's account.

    Attributes:
        name: what they log in with.
        role: what they may do.
        cameras: patterns of the cameras that they see; those who administer see all.
        password: what is kept of it; empty where a proxy or a login provider says who comes.
        created_us: microseconds since 1970.
        disabled: whether they may not log in.
        sessions_from_us: sessions that began before this have ended, microseconds since 1970.
        subject: the login provider and the person there whose account this is; empty of one that was made here.
    """

    name: str
    role: Role
    cameras: tuple[str, ...]
    password: str
    created_us: int
    disabled: bool = False
    sessions_from_us: int = 0
    subject: str = ""

    def __post_init__(self) -> None:
        check_user_name(self.name)
        camera_patterns(self.cameras)
        if self.role is Role.ADMIN and self.cameras != EVERY_CAMERA:
            raise ConfigError("who administers sees every camera: leave the cameras at *")

    @property
    def administers(self) -> bool:
        """Whether this account can change others."""
        return self.role is Role.ADMIN and not self.disabled

    @staticmethod
    def of(said: dict[str, Any]) -> User:
        """Reads what the file holds.

        Raises:
            ConfigError: a value cannot be.
            TypeError: a value is missing, or unknown.
        """
        return User(**{**said, "role": Role.of(said["role"]), "cameras": tuple(said["cameras"])})


class Scope(StrEnum):
    """What a token may do, within what its owner may."""

    FEED = "feed"
    """Read pictures and streams meant for other programs; such a token may stand in the address."""
    READ = "read"
    """Whatever its owner may look at."""
    OPERATE = "operate"
    """Whatever its owner may do, but for accounts, tokens and the audit log."""


@dataclass(frozen=True)
class Token:
    """An API token, of which a digest is kept.

    Attributes:
        id: names it, and is part of it.
        name: what it is for.
        owner: whose account it belongs to.
        scopes: what it may do.
        cameras: patterns; of these its owner's are seen.
        sha256: of the token, in hexadecimal.
        created_us: microseconds since 1970.
        expires_us: microseconds since 1970; 0 if never.
    """

    id: str
    name: str
    owner: str
    scopes: tuple[Scope, ...]
    cameras: tuple[str, ...]
    sha256: str
    created_us: int
    expires_us: int = 0

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > _LABEL_CHARACTERS or not self.name.isprintable():
            raise ConfigError(f"say what the token is for, in {_LABEL_CHARACTERS} characters at most")
        if not self.scopes:
            raise ConfigError(f"a token needs a scope: {', '.join(Scope)}")
        camera_patterns(self.cameras)

    @staticmethod
    def of(said: dict[str, Any]) -> Token:
        """Reads what the file holds.

        Raises:
            ConfigError: a value cannot be.
            ValueError: a scope is unknown.
            TypeError: a value is missing, or unknown.
        """
        scopes = tuple(Scope(each) for each in said["scopes"])
        return Token(**{**said, "scopes": scopes, "cameras": tuple(said["cameras"])})


def check_user_name(name: str) -> str:
    """Returns the name of an account.

    Raises:
        ConfigError: no account can be called that.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"no account can be called {name[:80]!r}: use 1 to 64 characters of a-z, 0-9, '.', '_', '@' and '-',"
            " starting with a letter or digit"
        )
    return name


def new_token(
    *, name: str, owner: str, scopes: tuple[Scope, ...], cameras: tuple[str, ...], now_us: int, expires_us: int = 0
) -> tuple[Token, str]:
    """Makes a token; what it reads as is known to nobody but the caller.

    Args:
        name: what it is for.
        owner: of the account.
        scopes: what it may do.
        cameras: patterns of the cameras.
        now_us: the time, microseconds since 1970.
        expires_us: when it ends; 0 for never.

    Returns:
        What is kept, and the token.

    Raises:
        ConfigError: a value cannot be.
    """
    identity = secrets.token_hex(_ID_BYTES)
    text = f"icm_{identity}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    kept = Token(identity, name, owner, scopes, cameras, _digest(text), now_us, expires_us)
    return kept, text


def token_id(text: str) -> str | None:
    """The id in a token; None if it is none."""
    found = _TOKEN.fullmatch(text)
    return found[1] if found else None


def is_token(text: str, kept: Token, now_us: int) -> bool:
    """Whether a text is the token that was kept, and it has not ended."""
    right = secrets.compare_digest(_digest(text), kept.sha256)
    return right and not (kept.expires_us and kept.expires_us <= now_us)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
