"""When this side's certificates run out, as a metric.

Python's ``ssl`` tells it of a peer's certificate only, and the edge has no other library for X.509; so the few fields
that lead there are read here (RFC 5280, section 4.1).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from icm.config.watched_files import WatchedFiles, read_file
from icm.errors import ConfigError
from icm.rpc.tls import TlsSettings

_VERSION, _UTC_TIME = 0xA0, 0x17
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def watch_certificates(registry: CollectorRegistry, sides: Mapping[str, TlsSettings | None]) -> None:
    """Exports ``icm_certificate_expiry_timestamp_seconds`` for each side that has a certificate; a renewed one counts
    as soon as its file is replaced.

    Raises:
        ConfigError: a certificate cannot be read.
    """
    gauge = Gauge(
        "icm_certificate_expiry_timestamp_seconds",
        "When this side's certificate runs out, in seconds since 1970.",
        ["side"],
        registry=registry,
    )
    for side, settings in sides.items():
        if settings is not None:
            gauge.labels(side).set_function(_watched(settings.certificate).current)


def expiry_of(path: Path) -> float:
    """When the first certificate of a PEM file runs out, in seconds since 1970, UTC.

    Raises:
        ConfigError: the file holds none.
    """
    text = read_file(path).decode(errors="replace")
    try:
        pem = text[text.index(_BEGIN) : text.index(_END) + len(_END)]
        return _not_after(ssl.PEM_cert_to_DER_cert(pem)).timestamp()
    except (ValueError, IndexError):
        raise ConfigError(f"{path} holds no PEM certificate") from None


def _watched(path: Path) -> WatchedFiles[float]:
    return WatchedFiles([path], lambda: expiry_of(path))


def _not_after(certificate: bytes) -> datetime:
    _, at, _ = _element(certificate, 0)  # Certificate
    _, at, _ = _element(certificate, at)  # TBSCertificate
    tag, _, end = _element(certificate, at)
    if tag == _VERSION:
        _, _, end = _element(certificate, end)
    _, _, end = _element(certificate, end)  # serial number, before: signature, issuer
    _, _, end = _element(certificate, end)
    _, at, _ = _element(certificate, end)  # validity
    _, _, end = _element(certificate, at)  # not before
    tag, start, end = _element(certificate, end)
    text = certificate[start:end].decode("ascii")
    if tag == _UTC_TIME:
        text = ("20" if text < "50" else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start and end of the content of the DER element at an offset."""
    tag, length, start = data[at], data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(data[start : start + size], "big")
        start += size
    return tag, start, start + length
