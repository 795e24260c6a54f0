"""Who a proxy in front of the viewer says is there: believed from trusted networks alone, and never otherwise."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass
from typing import Any

from cloud_service.viewer.accounts.login_limits import network_of
from cloud_service.viewer.accounts.roles import Allowed, GroupRoles
from cloud_service.viewer.settings import ProxySettings
from icm.config.watched_files import WatchedFiles, read_file
from icm.errors import ConfigError

SECRET_HEADER = "x-proxy-secret"
_FORWARDED = "x-forwarded-for"
_LEAST_SECRET = 16
_MOST_FORWARDED = 32


@dataclass(frozen=True)
class Named:
    """Whom a proxy names.

    Attributes:
        name: of the person, as the proxy writes it.
        allowed: what their groups may do; None if none has a role.
    """

    name: str
    allowed: Allowed | None


class Proxies:
    """What is believed of a request's headers."""

    def __init__(self, settings: ProxySettings | None) -> None:
        """As the settings say.

        Args:
            settings: None to believe nobody.

        Raises:
            ConfigError: the file with the secret cannot be read, or holds none.
        """
        self._settings = settings
        self._roles = GroupRoles((each.group, each.role, each.cameras) for each in (settings.roles if settings else ()))
        self._networks = [ipaddress.ip_network(each) for each in settings.trusted] if settings else []
        path = settings.secret_file if settings else None

        def read() -> bytes:
            assert path is not None
            secret = read_file(path).strip()
            if len(secret) < _LEAST_SECRET:
                raise ConfigError(f"{path} is to hold a secret of {_LEAST_SECRET} characters at least")
            return secret

        self._secret = WatchedFiles([path], read) if path else None

    def address_of(self, connection: Any) -> str:
        """Where a request comes from: the peer, or whom trusted proxies name.

        Args:
            connection: a request or a WebSocket.
        """
        address = connection.client.host if connection.client else ""
        hops = ",".join(connection.headers.getlist(_FORWARDED)).split(",")[-_MOST_FORWARDED:]
        while hops and self._trusts(address):
            hop = hops.pop().strip()
            try:
                address = str(ipaddress.ip_address(hop))
            except ValueError:
                break
        return address

    def client_of(self, address: str) -> str | None:
        """Whom a peer's address stands for: of IPv6 the household; None for the many behind a trusted proxy."""
        return None if self._trusts(address) else network_of(address)

    def named(self, connection: Any) -> Named | None:
        """Whom the proxy names; None if it names nobody, or is not believed.

        Args:
            connection: a request or a WebSocket.
        """
        settings = self._settings
        if settings is None or settings.user_header is None or connection.client is None:
            return None
        if not self._trusts(connection.client.host) or not self._shows_secret(connection):
            return None
        names = connection.headers.getlist(settings.user_header)
        # Two of them: one may be the client's own, which the proxy let through.
        if len(names) != 1 or not names[0].strip():
            return None
        groups: list[str] = []
        if settings.groups_header:
            groups = [each.strip() for each in ",".join(connection.headers.getlist(settings.groups_header)).split(",")]
        return Named(names[0].strip(), self._roles.of(groups))

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
        return any((mapped or parsed) in network for network in self._networks)

    def _shows_secret(self, connection: Any) -> bool:
        if self._secret is None:
            return True
        shown = connection.headers.get(SECRET_HEADER, "").encode("latin-1", "replace")
        return secrets.compare_digest(shown, self._secret.current())
