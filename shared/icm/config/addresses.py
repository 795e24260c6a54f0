"""Where somebody listens: ``host:port``, taken apart and checked in one place."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from typing import Any, NamedTuple

from icm.errors import ConfigError

MOST_PORT = 65_535
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})")
_RULE = "an address is host:port with a port of 0 to 65535, such as cloud.example:7443, 10.0.0.5:7443 or [::1]:7443"


class HostPort(NamedTuple):
    """A host and a port.

    Attributes:
        host: a name, an IPv4 address, or an IPv6 address without brackets.
        port: 0 where the system shall pick one.
    """

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether it names this machine only."""
        if self.host.lower() == "localhost":
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> HostPort:
    """Takes ``host:port`` apart.

    Raises:
        ConfigError: it is none; says what to write instead.
    """
    if "://" in text:
        raise ConfigError(f"{_RULE}: leave out what stands before and with the ://")
    host, colon, port = text.rpartition(":")
    bracketed = re.fullmatch(r"\[(.*)\](?::(.*))?", text)
    if bracketed is not None:
        host, port = bracketed[1], bracketed[2]
        if port is None:
            raise ConfigError(f"{_RULE}: the port is missing after the brackets")
        if not _is_ipv6(host):
            raise ConfigError(f"{_RULE}: in the brackets stands no IPv6 address")
    elif text.count(":") > 1:
        brackets = f": write [{host}]:{port}, if that is meant" if _is_ipv6(host) else ""
        raise ConfigError(f"{_RULE}; an IPv6 address stands in brackets{brackets}")
    elif not colon:
        raise ConfigError(f"{_RULE}: the port is missing")
    elif not _HOST.fullmatch(host):
        raise ConfigError(f"{_RULE}: before the port stands no host name or IP address")
    elif re.fullmatch(r"[0-9.]+", host) and not _is_ipv4(host):
        raise ConfigError(f"{_RULE}: the numbers before the port are no IPv4 address")
    if not (re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= MOST_PORT):
        raise ConfigError(f"{_RULE}: after the last colon stands no such port")
    return HostPort(host, int(port))


def listening_place(target: HostPort) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """The family and address that a socket is bound to; of a name that has several an IPv4 address.

    Raises:
        OSError: there is no such name.
    """
    found = socket.getaddrinfo(*target, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, place = min(found, key=lambda one: one[0] != socket.AF_INET)
    return family, place


def why_not_listening(error: OSError) -> str:
    """What an error of listening means for whoever chose the address."""
    match error.errno:
        case errno.EADDRINUSE:
            return "is another process using the port?"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case errno.EACCES:
            return "this user may not listen on that port; those from 1024 on are free to all"
        case _:
            return error.strerror or str(error)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
