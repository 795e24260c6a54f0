"""TLS from PEM files. They may be replaced while a service runs: each new connection uses what they hold then."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc
from pydantic import BaseModel, ConfigDict, Field

from icm.config.watched_files import WatchedFiles, read_file
from icm.errors import ConfigError


class TlsSettings(BaseModel):
    """Who this side is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: Path = Field(description="PEM file of this side's certificate, with intermediate ones if any.")
    key: Path = Field(description="PEM file of the certificate's private key; readable by this service alone.")


class MutualTlsSettings(TlsSettings):
    """Who this side is, and whom it believes."""

    authority: Path = Field(description="PEM file of the authority (or several) that the other side's must come from.")


def server_credentials(settings: TlsSettings) -> grpc.ServerCredentials:
    """Of a server; with an authority in the settings it takes no client without a certificate of that authority.

    Raises:
        ConfigError: a file cannot be read, is no such thing, or key and certificate do not belong together.
    """
    mutual = isinstance(settings, MutualTlsSettings)

    def read() -> grpc.ServerCertificateConfiguration:
        certificate, key, authority = _read(settings)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)

    files = WatchedFiles(_paths(settings), read)
    # gRPC asks before every handshake.
    return grpc.dynamic_ssl_server_credentials(files.current(), files.current, require_client_authentication=mutual)


def watched_channel_credentials(settings: MutualTlsSettings) -> WatchedFiles[grpc.ChannelCredentials]:
    """Of a client.

    Raises:
        ConfigError: as of ``server_credentials``.
    """

    def read() -> grpc.ChannelCredentials:
        certificate, key, authority = _read(settings)
        return grpc.ssl_channel_credentials(authority, key, certificate)

    return WatchedFiles(_paths(settings), read)


def client_credentials(authority: Path, certificate: Path | None, key: Path | None) -> grpc.ChannelCredentials:
    """Of a client whose files are read once.

    Args:
        authority: PEM file of the authority that the server's certificate must come from.
        certificate: PEM file of the client's own certificate, with intermediate ones if any; None if it has none.
        key: PEM file of that certificate's private key, unencrypted.

    Raises:
        ConfigError: as of ``server_credentials``; or there is a certificate without a key or the other way round.
    """
    if certificate is None or key is None:
        if (certificate, key) != (None, None):
            raise ConfigError(f"{certificate or key} is a certificate or a key alone: give both, or none")
        return grpc.ssl_channel_credentials(_read_authority(authority, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)))
    own = MutualTlsSettings(certificate=certificate, key=key, authority=authority)
    certificates, private, authorities = _read(own)
    return grpc.ssl_channel_credentials(authorities, private, certificates)


def check_tls(settings: TlsSettings) -> None:
    """Checks that the TLS files can be used.

    Raises:
        ConfigError: as in ``server_credentials``.
    """
    _read(settings)


def _paths(settings: TlsSettings) -> list[Path]:
    paths = [settings.certificate, settings.key]
    return [*paths, settings.authority] if isinstance(settings, MutualTlsSettings) else paths


def _read(settings: TlsSettings) -> tuple[bytes, bytes, bytes | None]:
    """Certificate, key and authority. gRPC would say of a bad file only that the handshake failed, so look first."""
    certificate, key = read_file(settings.certificate), read_file(settings.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password, or OpenSSL would ask for the one of an encrypted key on the terminal.
        context.load_cert_chain(settings.certificate, settings.key, password="")
    except (ssl.SSLError, OSError, ValueError):
        raise ConfigError(
            f"{settings.certificate} and {settings.key} are not a PEM certificate and its private key, unencrypted:"
            " give the two that were issued together"
        ) from None
    authority = None
    if isinstance(settings, MutualTlsSettings):
        authority = _read_authority(settings.authority, context)
    return certificate, key, authority


def _read_authority(path: Path, context: ssl.SSLContext) -> bytes:
    authority = read_file(path)
    try:
        context.load_verify_locations(cadata=authority.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"{path} holds no PEM certificate of an authority") from None
    return authority
