"""What a certificate lets its holder do, written into it as URIs.

icm:camera:<name>   deliver this camera's records, and read them
icm:reader          read every camera
icm:release-holds   release holds that others added
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509

from icm.camera_name import check_camera_name
from icm.errors import PermissionDeniedError

_CAMERA = "icm:camera:"
_READER = "icm:reader"
_RELEASER = "icm:release-holds"


@dataclass(frozen=True)
class Grants:
    """What the holder of a certificate may do.

    Attributes:
        holder: who holds the certificate, for texts.
        cameras: names of cameras that the holder may deliver and read.
        reader: whether the holder may read every camera.
        releaser: whether the holder may release holds that others added.
    """

    holder: str
    cameras: frozenset[str] = frozenset()
    reader: bool = False
    releaser: bool = False

    def check_delivers_any(self) -> None:
        """Checks that the holder may deliver records of some camera.

        Raises:
            PermissionDeniedError: the holder may not deliver records of any camera.
        """
        if not self.cameras:
            raise PermissionDeniedError(
                f"{self.holder} may not deliver: its certificate names no camera; issue one that names its cameras"
            )

    def check_delivers(self, camera: str) -> None:
        """Checks that the holder may deliver this camera's records.

        Raises:
            PermissionDeniedError: the holder may not deliver this camera's records.
        """
        if camera not in self.cameras:
            raise PermissionDeniedError(
                f"{self.holder} may not deliver camera {camera[:80]!r}: its certificate names {self._named()};"
                " issue one that names this camera too"
            )

    def check_reads(self, camera: str) -> None:
        """Checks that the holder may read this camera; the empty name stands for all.

        Raises:
            PermissionDeniedError: the holder may not read this camera.
        """
        if not self.reads(camera):
            raise PermissionDeniedError(
                f"{self.holder} may not read {f'camera {camera[:80]!r}' if camera else 'all cameras'}: its certificate"
                f" names {self._named()}; issue one that names it, or one with --reader"
            )

    def check_releases(self, added_by: str) -> None:
        """Checks that the holder may release a hold.

        Args:
            added_by: whose certificate it was added with; empty where none was shown.

        Raises:
            PermissionDeniedError: the holder may not release it.
        """
        if not self.releaser and (not added_by or added_by != self.holder):
            raise PermissionDeniedError(
                f"{self.holder} may not release a hold that {added_by or 'somebody without a certificate'} added: ask"
                " them, or issue a certificate with --release-holds"
            )

    def reads(self, camera: str) -> bool:
        """Whether it may read this camera; the empty name stands for all."""
        return self.reader or camera in self.cameras

    def uris(self) -> list[str]:
        """As a certificate lists them."""
        rights = [*([_READER] if self.reader else []), *([_RELEASER] if self.releaser else [])]
        return [*(f"{_CAMERA}{camera}" for camera in sorted(self.cameras)), *rights]

    def _named(self) -> str:
        return ", ".join(sorted(self.cameras)) or "no camera"


def grants_of(certificate: x509.Certificate) -> Grants:
    """What a certificate grants; nothing of what it lists and is not known here."""
    uris = set(alternative_names(certificate, x509.UniformResourceIdentifier))
    cameras = (uri.removeprefix(_CAMERA) for uri in uris if uri.startswith(_CAMERA))
    return Grants(common_name(certificate), frozenset(cameras), _READER in uris, _RELEASER in uris)


def granting(holder: str, cameras: Iterable[str], reader: bool, releaser: bool = False) -> Grants:
    """Grants for a certificate to be issued.

    Raises:
        ConfigError: no camera can have such a name.
    """
    return Grants(holder, frozenset(check_camera_name(camera) for camera in cameras), reader, releaser)


def common_name(certificate: x509.Certificate) -> str:
    """The subject's common name, or the serial number of a certificate that has none."""
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else f"certificate {certificate.serial_number:x}"


def alternative_names(
    certificate: x509.Certificate,
    kind: type[x509.UniformResourceIdentifier] | type[x509.DNSName] | type[x509.IPAddress],
) -> list[str]:
    """Its subject alternative names of one kind."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [str(value) for value in extension.value.get_values_for_type(kind)]
