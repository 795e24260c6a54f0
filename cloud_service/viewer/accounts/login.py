"""Logging in with a password, and the making of the first account."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field, replace

from prometheus_client import Counter

from cloud_service.viewer.accounts.book import AccountBook
from cloud_service.viewer.accounts.login_limits import LoginLimits
from cloud_service.viewer.accounts.notes import Notes
from cloud_service.viewer.accounts.passwords import Passwords, check_password
from cloud_service.viewer.accounts.records import User
from cloud_service.viewer.accounts.roles import EVERY_CAMERA, Role
from cloud_service.viewer.accounts.sessions import Sessions
from icm.errors import BusyError, NotFoundError, UnauthenticatedError
from icm.service.clock import Clock

_MOST_NAME = 64
_SECRET_BYTES = 24


@dataclass(frozen=True)
class Login:
    """Who shows the right password gets a session.

    Attributes:
        book: of the accounts.
        sessions: of browsers.
        passwords: hashes and checks.
        limits: how often somebody may try.
        notes: in the audit log.
        attempts: counts them, by outcome.
        clock: for new accounts.
        secret: of the link by which the first account is made, new with each start.
    """

    book: AccountBook
    sessions: Sessions
    passwords: Passwords
    limits: LoginLimits
    notes: Notes
    attempts: Counter
    clock: Clock
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(_SECRET_BYTES))

    async def begin(self, name: str, password: str, address: str, browser: str) -> str:
        """Begins a session.

        Args:
            name: as it was given.
            password: as it was given.
            address: where the person comes from.
            browser: what it calls itself.

        Returns:
            What the browser is to show.

        Raises:
            UnauthenticatedError: there is no such account, or that is not its password.
            BusyError: somebody tried too often.
            StorageError: the database cannot be used.
        """
        name = name.strip().lower()[:_MOST_NAME]
        await self.check(name, password, address)
        return await self.admit(name, address, browser)

    async def admit(self, name: str, address: str, browser: str, about: str = "") -> str:
        """Begins a session of somebody who has proved who they are.

        Args:
            name: of the account.
            address: where the person comes from.
            browser: what it calls itself.
            about: how they proved it, for the audit log; empty for a password.

        Returns:
            What the browser is to show.

        Raises:
            StorageError: the database cannot be used.
        """
        shown = await asyncio.to_thread(self.sessions.begin, name, address, browser)
        self.attempts.labels("ok").inc()
        await self.notes.write(name, address, "log-in", about)
        return shown

    async def check(self, name: str, password: str, address: str) -> None:
        """Checks a password, and counts attempts.

        Raises:
            UnauthenticatedError: there is no such account, or that is not its password.
            BusyError: somebody tried too often.
        """
        try:
            self.limits.check(name, address)
        except BusyError:
            self.attempts.labels("refused").inc()
            raise
        user = self.book.user(name)
        kept = None if user is None or user.disabled or not user.password else user.password
        if not await asyncio.to_thread(self.passwords.matches, password, kept):
            self.limits.failed(name, address)
            self.attempts.labels("failed").inc()
            await self.notes.write(name, address, "log-in-failed")
            raise UnauthenticatedError("there is no such account, or that is not its password")
        self.limits.succeeded(name, address)
        if kept is not None and self.passwords.is_of_before(kept):
            anew = await asyncio.to_thread(self.passwords.hash, password)
            await asyncio.to_thread(self.book.change_user, name, lambda user: replace(user, password=anew))

    def check_secret(self, secret: str) -> None:
        """Checks that a link makes the first account.

        Raises:
            NotFoundError: there is an account, or this is not the link.
        """
        if not self.book.is_empty or not secrets.compare_digest(secret.encode(), self.secret.encode()):
            raise NotFoundError("this link does not make an account: there is one already, or the viewer started anew")

    async def make_first(self, secret: str, name: str, password: str, address: str) -> None:
        """Makes the first account, which administers.

        Args:
            secret: of the link.
            name: for the account.
            password: for it.
            address: where the person comes from.

        Raises:
            NotFoundError: there is an account, or this is not the link.
            ConfigError: the name or the password cannot be.
            StorageError: the disk refused.
        """
        self.check_secret(secret)
        user = User(name, Role.ADMIN, EVERY_CAMERA, "", self.clock.now_us())
        check_password(password, name)
        user = replace(user, password=await asyncio.to_thread(self.passwords.hash, password))
        await asyncio.to_thread(lambda: self.book.add_user(user, first=True))
        await self.notes.write(name, address, "user-added", f"{name} admin *")
