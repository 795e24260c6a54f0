"""Who calls the cloud, and what they may do there."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, Protocol

from cryptography import x509

from cloud_service.access.certificates.authorities import Authorities
from cloud_service.access.certificates.grants import Grants, common_name, grants_of
from cloud_service.access.certificates.revocation import RevocationLists
from cloud_service.settings import IngestTlsSettings
from icm.errors import UnauthenticatedError
from icm.rpc.call_guard import CallGuard
from icm.rpc.open_calls import OpenCalls
from icm.service.clock import Clock

log = logging.getLogger(__name__)


class Caller(Protocol):
    """What one may do."""

    @property
    def holder(self) -> str:
        """Who it is, by the certificate that was shown; empty where none was."""

    def check_delivers_any(self) -> None:
        """Checks that the caller may deliver records of some camera.

        Raises:
            PermissionDeniedError: it may deliver no camera's records.
        """

    def check_delivers(self, camera: str) -> None:
        """Checks that the caller may deliver this camera's records.

        Raises:
            PermissionDeniedError: it may not deliver them.
        """

    def check_reads(self, camera: str) -> None:
        """Checks that the caller may read this camera, or with the empty name, all cameras.

        Raises:
            PermissionDeniedError: it may not read this camera, or with the empty name, not all of them.
        """

    def check_releases(self, added_by: str) -> None:
        """Checks that the caller may release a hold.

        Args:
            added_by: whose certificate it was added with; empty where none was shown.

        Raises:
            PermissionDeniedError: it may not.
        """

    def reads(self, camera: str) -> bool:
        """Whether the caller may read the camera."""


class Access(Protocol):
    """Tells a call's caller."""

    def caller(self, context: Any) -> Caller:
        """Returns who makes a call.

        Args:
            context: of the call.
        """


class Anybody:
    """On a listener without TLS nobody is known, and everything is allowed to all who reach it."""

    holder = ""

    def caller(self, context: Any) -> Caller:
        return self

    def check_delivers_any(self) -> None:
        pass

    def check_delivers(self, camera: str) -> None:
        pass

    def check_reads(self, camera: str) -> None:
        pass

    def check_releases(self, added_by: str) -> None:
        pass

    def reads(self, camera: str) -> bool:
        return True


ANYBODY = Anybody()


class CertificateAccess(CallGuard):
    """Callers by their client certificates, which TLS has verified at the handshake.

    As a guard of the server it ends calls whose certificate was revoked or ran out since, or whose authority counts no
    more: at their next message, and those over which nothing is said within seconds.
    """

    def __init__(
        self, revocations: RevocationLists | None, clock: Clock, authorities: Authorities | None = None
    ) -> None:
        """Creates the access of callers that show a certificate.

        Args:
            authorities: None if those of the handshake stay valid.
        """
        self._revocations, self._clock, self._authorities = revocations, clock, authorities
        self._open = OpenCalls(clock)

    def caller(self, context: Any) -> Grants:
        """See ``Access``."""
        return grants_of(_certificate(context))

    @asynccontextmanager
    async def watch(self, context: Any) -> AsyncIterator[_Watch]:
        """See ``CallGuard``.

        Raises:
            UnauthenticatedError: the certificate is not valid any more.
        """
        certificate = _certificate(context)
        async with self._open.kept(lambda: self.check(certificate)):
            yield _Watch(self, certificate)

    def check(self, certificate: x509.Certificate) -> None:
        """Checks that a certificate is still valid.

        Raises:
            UnauthenticatedError: the certificate is not valid any more.
        """
        if self._revocations and self._revocations.revoked(certificate):
            raise _refusal(certificate, "was revoked")
        if self._authorities and self._authorities.withdrawn(certificate):
            raise _refusal(certificate, "is of an authority that counts no more")
        if certificate.not_valid_after_utc.timestamp() < self._clock.now_us() / 1e6:
            raise _refusal(certificate, "has run out")


def certificate_access(tls: IngestTlsSettings | None, clock: Clock) -> CertificateAccess | None:
    """As the settings say; None without TLS.

    Raises:
        ConfigError: the authorities or the lists of revoked certificates cannot be used.
    """
    if tls is None:
        return None
    revocations = RevocationLists(tls.revoked, tls.authority) if tls.revoked else None
    return CertificateAccess(revocations, clock, Authorities(tls.authority))


class _Watch:
    """Of one call."""

    def __init__(self, access: CertificateAccess, certificate: x509.Certificate) -> None:
        self._access, self._certificate = access, certificate

    async def ready(self) -> None:
        """A certificate makes nobody wait."""

    async def received(self, size: int) -> None:
        self._access.check(self._certificate)

    async def sending(self) -> None:
        self._access.check(self._certificate)


def _refusal(certificate: x509.Certificate, why: str) -> UnauthenticatedError:
    text = f"the certificate {certificate.serial_number:x} of {common_name(certificate)} {why}"
    log.warning("ending a call: %s", text)
    return UnauthenticatedError(f"{text}; ask whoever runs the cloud for a new one")


def _certificate(context: Any) -> x509.Certificate:
    for pem in context.auth_context().get("x509_pem_cert", ()):
        return _parsed(bytes(pem))
    raise UnauthenticatedError("this server asks for a client certificate; `icm-cloud certs issue` makes one")


@lru_cache(maxsize=1024)
def _parsed(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)
