"""The settings of the viewer: the section ``viewer`` of a cloud's settings."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from icm.config.settings import Address, PeerAddress, Section
from icm.rpc.tls import MutualTlsSettings, TlsSettings

RoleName = Literal["admin", "operator", "viewer"]


def _check_origin(text: str) -> str:
    try:
        parts = urlsplit(text)
        beyond = parts.path or parts.query or parts.fragment or parts.username or parts.password
        port = parts.port
    except ValueError:
        raise ValueError("an origin is https://host or https://host:port") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or beyond:
        raise ValueError("an origin is https://host or https://host:port, with nothing behind it")
    usual = {"http": 80, "https": 443}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, usual) else "")


def _check_network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"a network is written as 10.0.0.0/8 or fd00::/8: {error}") from None


Origin = Annotated[str, AfterValidator(_check_origin)]
"""What browsers call a site: scheme, host, and a port that is not the usual one."""
Network = Annotated[str, AfterValidator(_check_network)]
"""Addresses that begin alike, in CIDR notation."""


CameraPattern = Annotated[str, Field(pattern=r"^[a-z0-9*?_-]{1,64}$")]
"""The name of a camera, in which ``*`` stands for any characters and ``?`` for one."""
_OWN_MACHINE = ("localhost", "127.0.0.1", "::1")


class GroupRole(Section):
    """What a group of a proxy or of a login provider may do."""

    group: str = Field(min_length=1, max_length=200, description="Name of the group, as it is written there.")
    role: RoleName = Field(description="Its role: admin, operator or viewer.")
    cameras: list[CameraPattern] = Field(
        default=["*"], min_length=1, description="Cameras that it sees, such as yard-*; those who administer see all."
    )

    @model_validator(mode="after")
    def _sees_all(self) -> GroupRole:
        if self.role == "admin" and self.cameras != ["*"]:
            raise ValueError(f"the group {self.group} administers and so sees every camera: leave its cameras out")
        return self


class ProxySettings(Section):
    """A proxy in front of the viewer: what is believed of what it says."""

    trusted: list[Network] = Field(
        min_length=1,
        description="Networks, such as 127.0.0.1/32, of the proxies whose X-Forwarded-For is believed, and whose"
        " headers below.",
    )
    user_header: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="Header in which the proxy names who is logged in, such as Remote-User. It has to take this header"
        " out of what clients send. Unset: people log in here.",
    )
    groups_header: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="Header in which it names that person's groups, apart by commas. Unset: none.",
    )
    roles: list[GroupRole] = Field(
        default=[],
        description="What groups may do; of several the highest role counts, with the cameras of those that have it."
        " Who has an account here has that one's role and cameras, and who has neither is refused.",
    )
    secret_file: Path | None = Field(
        default=None,
        description="File with a secret that the proxy has to show in the header X-Proxy-Secret. Unset: its address is"
        " enough.",
    )

    @model_validator(mode="after")
    def _is_of_use(self) -> ProxySettings:
        if self.user_header is None and (self.groups_header or self.roles or self.secret_file):
            raise ValueError("groups_header, roles and secret_file are of no use without user_header")
        return self


def _check_issuer(text: str) -> str:
    try:
        parts = urlsplit(text)
        beyond = parts.query or parts.fragment or parts.username or parts.password
        _port = parts.port
    except ValueError:
        raise ValueError("an issuer is an address such as https://login.example/realms/home") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or beyond:
        raise ValueError("an issuer is an address such as https://login.example/realms/home, with nothing behind it")
    if parts.scheme == "http" and parts.hostname not in _OWN_MACHINE:
        raise ValueError("an issuer beyond this machine is reached over https")
    return text


class OidcSettings(Section):
    """A provider of OpenID Connect at which people log in."""

    issuer: Annotated[str, AfterValidator(_check_issuer)] = Field(
        max_length=2000, description="Its address, as it writes itself in the field `issuer` of what it says of itself."
    )
    client_id: str = Field(min_length=1, max_length=200, description="As what it knows the viewer.")
    secret_file: Path | None = Field(
        default=None, description="File with the secret that it gave the viewer. Unset: none, as of a public client."
    )
    label: str = Field(
        default="Log in with the login provider", min_length=1, max_length=60, description="On the button at /login."
    )
    scopes: list[Annotated[str, Field(pattern=r"^[!#-\[\]-~]{1,100}$")]] = Field(
        default=["openid", "profile"], description="What is asked for; some providers tell groups for `groups` alone."
    )
    name_claim: str = Field(
        default="preferred_username", min_length=1, max_length=200, description="Claim that has the account's name."
    )
    groups_claim: str = Field(
        default="groups", min_length=1, max_length=200, description="Claim that has the person's groups, as a list."
    )
    roles: list[GroupRole] = Field(
        min_length=1,
        description="What groups may do; of several the highest role counts, with the cameras of those that have it."
        " Who is in none of them is refused.",
    )

    @model_validator(mode="after")
    def _is_oidc(self) -> OidcSettings:
        if "openid" not in self.scopes:
            raise ValueError("scopes need openid among them: without it a provider does not say who logged in")
        return self


class ViewerCloudSettings(Section):
    """The cloud that the viewer asks for what is not in files and database."""

    address: PeerAddress | None = Field(
        default=None, description="host:port of the cloud. Unset: that of `ingest.address`."
    )
    tls: MutualTlsSettings | None = Field(
        default=None, description="Mutual TLS, with a reader's certificate. Unset: plaintext."
    )
    allow_plaintext: bool = Field(
        default=False, description="Speak plaintext beyond this machine; for networks you trust only."
    )


class CameraGroup(Section):
    """Cameras that the wall shows together."""

    name: str = Field(min_length=1, max_length=40, description="What it is called, such as Yard.")
    cameras: list[CameraPattern] = Field(min_length=1, max_length=1000, description="Its cameras, such as yard-*.")


class ViewerSettings(Section):
    """`icm-cloud viewer`: the archive for people, in a process of its own."""

    address: Address = Field(
        default="127.0.0.1:8080", description="host:port that browsers connect to; port 0 picks one."
    )
    allow_plaintext: bool = Field(
        default=False,
        description="Listen in plaintext beyond this machine; for a proxy with TLS on a network you trust only.",
    )
    tls: TlsSettings | None = Field(default=None, description="Certificate of the listener. Unset: plaintext.")
    origin: Origin | None = Field(
        default=None,
        description="How browsers reach the viewer, such as https://icm.example, where that is through a proxy. Unset:"
        " as they say themselves.",
    )
    connections: int = Field(
        default=512,
        ge=1,
        le=65_536,
        description="Connections of all clients together, of one a quarter; further ones are told to wait.",
    )
    metrics: Address = Field(
        default="127.0.0.1:9466", description="host:port of /metrics and /healthz; 0 picks a port."
    )
    folder: Path | None = Field(
        default=None, description="Where accounts and the audit log are kept. Unset: <store.folder>/viewer."
    )
    cloud: ViewerCloudSettings = Field(
        default=ViewerCloudSettings(), description="The cloud, which is asked for what files and database lack."
    )
    proxy: ProxySettings | None = Field(default=None, description="A proxy in front. Unset: none is believed.")
    groups: list[CameraGroup] = Field(
        default=[], max_length=100, description="Groups of cameras, of which the wall shows one or all."
    )
    oidc: OidcSettings | None = Field(
        default=None,
        description="OpenID Connect; needs the extra viewer-oidc, and `origin`. Unset: people log in with a password.",
    )
