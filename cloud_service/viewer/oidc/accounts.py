"""Accounts that follow a login provider: made, changed and deleted as it says with each login."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from cloud_service.viewer.accounts.login import Login
from cloud_service.viewer.accounts.records import User, check_user_name
from cloud_service.viewer.accounts.roles import Allowed, GroupRoles
from cloud_service.viewer.oidc.provider import Proven
from icm.errors import PermissionDeniedError


@dataclass(frozen=True)
class ProviderAccounts:
    """Has accounts follow the provider's word.

    Attributes:
        login: the book of accounts, sessions and notes.
        roles: what groups may do.
    """

    login: Login
    roles: GroupRoles

    async def account_of(self, proven: Proven, address: str) -> str:
        """The account of somebody who logged in at the provider, with the role and cameras of their groups.

        An account follows the person and not the name, which others could come to have. One that was made here is never
        taken over, whatever somebody is called at the provider.

        Args:
            proven: who logged in.
            address: where they come from.

        Returns:
            Its name.

        Raises:
            PermissionDeniedError: none of their groups has a role, the account is disabled, or the name is somebody
                else's.
            ConfigError: no account can have that name.
            StorageError: the disk refused.
        """
        name = await asyncio.to_thread(self._name_of, proven)
        allowed = self.roles.of(proven.groups)
        done: list[str] = []

        def follow(user: User | None) -> User | None:
            if user is not None and user.subject != proven.subject:
                raise PermissionDeniedError(
                    f"there is an account {name} here already, which is not of the login provider: log in with its"
                    " password, or ask who administers"
                )
            if user is not None and user.disabled:
                raise PermissionDeniedError(f"the account {name} is disabled: ask who administers")
            if allowed is None:
                done.extend(["user-deleted"] if user is not None else [])
                return None
            if user is None:
                done.append("user-added")
                now = self.login.clock.now_us()
                return User(name, allowed.role, allowed.cameras, "", now, subject=proven.subject)
            if Allowed(user.role, user.cameras) != allowed:
                done.append("user-changed")
            return replace(user, role=allowed.role, cameras=allowed.cameras)

        await asyncio.to_thread(self.login.book.follow, name, follow)
        for action in done:
            rights = "" if allowed is None else f" {allowed.role} {' '.join(allowed.cameras)}"
            await self.login.notes.write(name, address, action, f"{name}{rights} by the login provider")
        if allowed is None:
            await asyncio.to_thread(self.login.sessions.end_all, name)
            raise PermissionDeniedError(f"{name} is in no group that may look here: ask who administers")
        return name

    def _name_of(self, proven: Proven) -> str:
        """The name under which somebody came before, whatever they are called now."""
        known = next((user.name for user in self.login.book.users() if user.subject == proven.subject), None)
        return known or check_user_name(proven.name.strip().lower())
