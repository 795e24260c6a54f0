"""Which authorities callers' certificates may come from. TLS asks at the handshake only, and connections live long."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from icm.config.watched_files import WatchedFiles, read_file
from icm.errors import ConfigError


class Authorities:
    """Those in a PEM file, which is read again when it changes."""

    def __init__(self, path: Path) -> None:
        """Reads the authorities from a file.

        Raises:
            ConfigError: the file cannot be used.
        """
        self._files = WatchedFiles((path,), lambda: _read(path))
        self._ever = self._files.current()

    def withdrawn(self, certificate: x509.Certificate) -> bool:
        """Whether the authority that signed the certificate was in the file and is not any more.

        Of a certificate that came with intermediate ones nobody can tell here, so those count on.
        """
        current = self._files.current()
        self._ever += tuple(authority for authority in current if authority not in self._ever)
        return not _signed(certificate, current) and _signed(certificate, self._ever)


@lru_cache(maxsize=1024)
def _signed(certificate: x509.Certificate, authorities: tuple[x509.Certificate, ...]) -> bool:
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def _read(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(read_file(path)))
    except ValueError:
        raise ConfigError(f"{path} holds no PEM certificate of an authority") from None
