"""Passwords: what one must be, and how it is kept (argon2id)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from icm.errors import BusyError, ConfigError

Result = TypeVar("Result")
LEAST_CHARACTERS = 12
MOST_CHARACTERS = 256
_AT_ONCE = 2
_WAITING = 16
_WAIT_SECONDS = 10.0
# 19 MiB and two passes: what OWASP asks for at least.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def check_password(password: str, name: str) -> None:
    """Checks that a new password is fit.

    Args:
        password: of a person's choice.
        name: of the account.

    Raises:
        ConfigError: it is not.
    """
    if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS:
        raise ConfigError(f"a password has {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters: a few words will do")
    if not password.isprintable():
        raise ConfigError("a password has no control characters, such as tabs or line feeds")
    if name.lower() in password.lower() and len(password) < len(name) + LEAST_CHARACTERS // 2:
        raise ConfigError("a password must not be the account's name with a little around it")
    if len(set(password)) < LEAST_CHARACTERS // 3:
        raise ConfigError("a password must not be a few characters over and over")


class Passwords:
    """Hashes and checks passwords, a few at once: each takes 19 MiB and a core for a moment. Thread-safe."""

    def __init__(self) -> None:
        """Prepares what a name without an account is checked against, so that it takes as long."""
        self._places = threading.Semaphore(_AT_ONCE)
        self._waiting = threading.Semaphore(_AT_ONCE + _WAITING)
        self._nobodys = _HASHER.hash("nobody has this password")

    def hash(self, password: str) -> str:
        """What is kept of a password.

        Raises:
            BusyError: too many are being checked.
        """
        return self._in_turn(lambda: _HASHER.hash(password))

    def matches(self, password: str, kept: str | None) -> bool:
        """Whether a password is the one that was kept.

        Args:
            password: as it was given.
            kept: None where there is no such account, or it has no password.

        Raises:
            BusyError: too many are being checked.
        """
        if len(password) > MOST_CHARACTERS:
            return False
        return self._in_turn(lambda: _matches(password, kept or self._nobodys)) and kept is not None

    def is_of_before(self, kept: str) -> bool:
        """Whether it was kept with less effort than is usual now."""
        return _HASHER.check_needs_rehash(kept)

    def _in_turn(self, work: Callable[[], Result]) -> Result:
        if not self._waiting.acquire(blocking=False):
            raise BusyError("too many people log in at once: try again in a moment", 2.0)
        try:
            if not self._places.acquire(timeout=_WAIT_SECONDS):
                raise BusyError("too many people log in at once: try again in a moment", 2.0)
            try:
                return work()
            finally:
                self._places.release()
        finally:
            self._waiting.release()


def _matches(password: str, kept: str) -> bool:
    try:
        return _HASHER.verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False
