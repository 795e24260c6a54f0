"""Which proxy of the environment gRPC uses for an address, by its own rules: it tells nobody that it does."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from icm.config.addresses import HostPort, parse_address
from icm.errors import ConfigError

_NAMING = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPTING = ("no_grpc_proxy", "no_proxy")
"""Environment variables, small letters only; the first that is set counts."""


@dataclass(frozen=True)
class Proxy:
    """A proxy that the environment names.

    Attributes:
        place: its host and port.
        variable: the environment variable that names it.
    """

    place: str
    variable: str

    def __str__(self) -> str:
        return f"the proxy {self.place} that the environment variable {self.variable} names"


def proxy_of(address: str) -> Proxy | None:
    """The proxy on the way to ``host:port``; None for this machine, which is never reached through one.

    Raises:
        ConfigError: the environment names one that cannot be used.
    """
    target = parse_address(address)
    variable = _first_set(_NAMING)
    if variable is None or target.is_loopback or _excepted(target):
        return None
    # Others than http:// gRPC passes over.
    if not os.environ[variable].startswith("http://"):
        return None
    try:
        parts = urlsplit(os.environ[variable])
        place = str(parse_address(parts.netloc.rpartition("@")[2]))
    except (ConfigError, ValueError):
        # It may hold a password, and nobody can tell where.
        raise ConfigError(
            f"the environment variable {variable} names no proxy for {address}: write http://proxy:3128, or list"
            f" {target.host} in no_proxy"
        ) from None
    return Proxy(place, variable)


def _excepted(target: HostPort) -> bool:
    variable = _first_set(_EXCEPTING)
    entries = os.environ[variable].split(",") if variable is not None else []
    return any(_covers(entry.strip(), target.host) for entry in entries if entry.strip())


def _covers(entry: str, host: str) -> bool:
    if host.lower().endswith(entry.lower()):
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _first_set(variables: tuple[str, ...]) -> str | None:
    return next((name for name in variables if name in os.environ), None)
