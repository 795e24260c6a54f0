"""Which certificates were revoked: X.509 lists in a PEM file, as the authority signed them."""

from __future__ import annotations

import re
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from icm.config.watched_files import WatchedFiles, read_file
from icm.errors import ConfigError

_LIST = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


class RevocationLists:
    """The file, read again when it changes. A list counts until it is replaced, whatever date it gives."""

    def __init__(self, path: Path, authority: Path) -> None:
        """Reads the lists from a file.

        Args:
            path: file of the lists.
            authority: PEM file of the certificates of those that may sign the lists.

        Raises:
            ConfigError: a file cannot be used, or a list is signed by somebody else.
        """
        self._path, self._authority = path, authority
        self._files = WatchedFiles((path, authority), self._read)

    def revoked(self, certificate: x509.Certificate) -> bool:
        """Whether the certificate is on a list of its issuer."""
        return (certificate.issuer.public_bytes(), certificate.serial_number) in self._files.current()

    def _read(self) -> frozenset[tuple[bytes, int]]:
        """Issuers and serial numbers."""
        lists = _LIST.findall(read_file(self._path))
        try:
            issuers = x509.load_pem_x509_certificates(read_file(self._authority))
            loaded = [x509.load_pem_x509_crl(pem) for pem in lists]
            for found in loaded:
                self._check_signed(found, issuers)
        except ValueError:
            raise ConfigError(
                f"{self._path} or {self._authority} is damaged: copy it from the authority anew"
            ) from None
        if not loaded:
            raise ConfigError(
                f"{self._path} holds no PEM list of revoked certificates: `icm-cloud certs init` makes one"
            )
        return frozenset((found.issuer.public_bytes(), entry.serial_number) for found in loaded for entry in found)

    def _check_signed(self, found: x509.CertificateRevocationList, issuers: list[x509.Certificate]) -> None:
        for issuer in issuers:
            if issuer.subject == found.issuer:
                try:
                    if found.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]
                        return
                except (InvalidSignature, TypeError):
                    continue
        raise ConfigError(f"{self._path} is not signed by an authority in {self._authority}: copy the authority's own")
