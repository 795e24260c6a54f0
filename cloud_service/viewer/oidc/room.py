"""The login at a provider, as one; in a room of its own, as what it stands on is an extra."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from cloud_service.viewer.accounts.cookies import SessionCookie
from cloud_service.viewer.accounts.login import Login
from cloud_service.viewer.accounts.login_limits import LoginLimits
from cloud_service.viewer.accounts.roles import GroupRoles
from cloud_service.viewer.settings import ViewerSettings
from cloud_service.viewer.web.routes import Page
from icm.errors import ConfigError


class OidcRoom:
    """Provider, accounts and pages; nothing where the settings name no provider."""

    def __init__(
        self,
        settings: ViewerSettings,
        login: Login,
        cookie: SessionCookie,
        form: Callable[[Request, str, str, int], Response],
    ) -> None:
        """Creates the room.

        Args:
            settings: of the viewer.
            login: begins sessions.
            cookie: of sessions.
            form: the page with the login, for a request, the path behind it, a problem and a status.

        Raises:
            ConfigError: the extra is not installed, the secret cannot be read, or nobody could be sent back.
        """
        oidc, origin = settings.oidc, settings.origin
        self._pages: list[Page] = []
        self._provider = None
        if oidc is None:
            return
        if origin is None:
            raise ConfigError("viewer.oidc needs viewer.origin: the address to which the login provider sends back")
        try:
            from cloud_service.viewer.oidc.accounts import ProviderAccounts
            from cloud_service.viewer.oidc.pages import CALLBACK, OidcPages
            from cloud_service.viewer.oidc.provider import Provider
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"viewer.oidc needs the extra viewer-oidc ({error.name} is missing): pip install"
                " 'icm-bridge[viewer-oidc]', or take viewer.oidc out of the settings"
            ) from None
        self._provider = Provider(oidc, origin + CALLBACK, login.clock)
        roles = GroupRoles((each.group, each.role, each.cameras) for each in oidc.roles)
        self._pages = OidcPages(
            provider=self._provider,
            accounts=ProviderAccounts(login, roles),
            login=login,
            limits=LoginLimits(login.clock),
            cookie=cookie,
            secure=cookie.secure,
            origin=origin,
            form=form,
        ).pages()

    def pages(self) -> list[Page]:
        """For the routes."""
        return self._pages

    async def close(self) -> None:
        """Closes connections."""
        if self._provider is not None:
            await self._provider.close()
