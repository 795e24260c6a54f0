"""An authority of one's own, in a folder: it issues certificates, revokes them, and knows all that it issued.

ca.crt  ca.key  crl.pem       the authority, its private key, and its list of revoked certificates
issued/<serial>.crt           every certificate it issued
for/<name>/                   tls.crt, tls.key and ca.crt to carry to the machine that they are for
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloud_service.access.certificates.grants import Grants, common_name
from icm.atomic_file import write_atomically
from icm.config.watched_files import read_file
from icm.errors import ConfigError, NotFoundError, storage_error
from icm.service.clock import Clock

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 365
MOST_DAYS = 825
"""What others, such as browsers, accept of a server at most."""
_EARLY = timedelta(hours=1)
"""Certificates count from a little before they were made, because edges' clocks differ."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Issued:
    """A certificate and what became of it."""

    certificate: x509.Certificate
    revoked: bool

    @property
    def name(self) -> str:
        return common_name(self.certificate)


class Authority:
    """Issues and revokes. Errors of the disk come as StorageError."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Opens an authority.

        Raises:
            ConfigError: there is none, or its files are damaged.
        """
        self._folder, self._clock = folder, clock
        if not (folder / "ca.key").exists():
            raise ConfigError(f"there is no authority in {folder}: `icm-cloud certs init --folder {folder}` makes one")
        self.certificate = _load(folder / "ca.crt")
        try:
            key = serialization.load_pem_private_key(read_file(folder / "ca.key"), None)
        except (ValueError, TypeError):
            raise ConfigError(f"{folder / 'ca.key'} is damaged: restore it from a copy") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError(f"{folder / 'ca.key'} is no key that this authority made: restore it from a copy")
        self._key = key

    @classmethod
    def create(cls, folder: Path, clock: Clock, name: str = "ICM Bridge") -> Self:
        """Makes an authority with an empty list of revoked certificates.

        Raises:
            ConfigError: there is one in the folder.
        """
        if (folder / "ca.key").exists():
            raise ConfigError(f"there is an authority in {folder} already: every certificate depends on it")
        key = ec.generate_private_key(ec.SECP256R1())
        subject, now = _subject(name), _now(clock)
        certificate = (
            _builder(subject, subject, key, key, now, AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        _write_private(folder / "ca.key", key)
        _write(folder / "ca.crt", _pem(certificate))
        authority = cls(folder, clock)
        authority._write_list([])
        return authority

    def issue(self, grants: Grants, hosts: Sequence[str], days: int = CERTIFICATE_DAYS) -> Path:
        """Issues a certificate with a new key; returns the folder with both, which replace earlier ones of this name.

        Args:
            grants: what its holder may do as a client.
            hosts: names and IP addresses that it may serve at.

        Raises:
            ConfigError: it would be good for nothing, or the name, a host or the days cannot be.
        """
        name = grants.holder
        if _NAME.fullmatch(name) is None:
            raise ConfigError(f"{name[:80]!r} cannot name a certificate: use 1 to 64 of a-z, 0-9, '.', '-' and '_'")
        if not 1 <= days <= MOST_DAYS:
            raise ConfigError(f"a certificate lives 1 to {MOST_DAYS} days, not {days}")
        if not (hosts or grants.uris()):
            raise ConfigError("say what the certificate is for: --camera, --reader, or --host for a server")
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] if hosts else []
        usages += [ExtendedKeyUsageOID.CLIENT_AUTH] if grants.uris() else []
        names = [*map(_host, hosts), *(x509.UniformResourceIdentifier(uri) for uri in grants.uris())]
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_subject(name), self.certificate.subject, key, self._key, _now(self._clock), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        _write(self._folder / "issued" / f"{certificate.serial_number:x}.crt", _pem(certificate))
        folder = self._folder / "for" / name
        _write_private(folder / "tls.key", key)
        _write(folder / "tls.crt", _pem(certificate))
        _write(folder / "ca.crt", _pem(self.certificate))
        return folder

    def revoke(self, name_or_serial: str) -> list[Issued]:
        """Revokes the certificate of this serial number, or all of this name; returns those that counted until now.

        Raises:
            NotFoundError: the authority issued none.
        """
        meant = [i for i in self.issued() if name_or_serial in (i.name, f"{i.certificate.serial_number:x}")]
        if not meant:
            raise NotFoundError(f"no certificate {name_or_serial!r} was issued here; `icm-cloud certs list` shows all")
        revoked = {entry.serial_number: entry for entry in self._list()}
        now = _now(self._clock)
        news = [issued for issued in meant if not issued.revoked]
        for issued in news:
            serial = issued.certificate.serial_number
            revoked[serial] = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        self._write_list(list(revoked.values()))
        return news

    def issued(self) -> list[Issued]:
        """Every certificate that was issued, by name and age."""
        revoked = {entry.serial_number for entry in self._list()}
        certificates = [_load(path) for path in (self._folder / "issued").glob("*.crt")]
        certificates.sort(key=lambda found: (common_name(found), found.not_valid_before_utc))
        return [Issued(found, found.serial_number in revoked) for found in certificates]

    def _list(self) -> list[x509.RevokedCertificate]:
        path = self._folder / "crl.pem"
        try:
            return list(x509.load_pem_x509_crl(read_file(path)))
        except ValueError:
            raise ConfigError(f"{path} is damaged: restore it from a copy, or what was revoked counts again") from None

    def _write_list(self, revoked: list[x509.RevokedCertificate]) -> None:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(_now(self._clock))
            # The format asks for a date; a list counts until the next one is written.
            .next_update(self.certificate.not_valid_after_utc)
        )
        for entry in revoked:
            builder = builder.add_revoked_certificate(entry)
        signed = builder.sign(self._key, hashes.SHA256())
        _write(self._folder / "crl.pem", signed.public_bytes(serialization.Encoding.PEM))


def _now(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.now_us() // 1_000_000, UTC)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + timedelta(days=days))
        # They tell an authority from its successor of the same name, while certificates of both are about.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        # An IPv6 address may come in the brackets that it has before a port.
        return x509.IPAddress(ipaddress.ip_address(re.sub(r"^\[(.*)\]$", r"\1", host)))
    except ValueError:
        pass
    if not re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9][A-Za-z0-9-]{0,62}(\.[A-Za-z0-9][A-Za-z0-9-]{0,62})*\.?", host):
        raise ConfigError(f"{host[:80]!r} is no host name or IP address; give it without a port")
    return x509.DNSName(host)


def _load(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(read_file(path))
    except ValueError:
        raise ConfigError(f"{path} is no PEM certificate: restore it from a copy") from None


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, data: bytes, *, private: bool = False) -> None:
    try:
        write_atomically(path, data, private=private)
    except OSError as error:
        raise storage_error(error, path) from None


def _write_private(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(path, pem, private=True)
