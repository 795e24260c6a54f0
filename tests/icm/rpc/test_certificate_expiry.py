"""The date that a certificate is told to run out on is its own, whatever the date, and follows its file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from icm.errors import ConfigError
from icm.rpc.certificate_expiry import expiry_of, watch_certificates
from tests.certificates import Certificates, copied

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(until: datetime, name: str, serial: int) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, KEY.public_key(), serial, until - timedelta(days=1), until)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


@settings(deadline=None)
@given(
    # Before and after 2050 dates are written in different ways.
    st.datetimes(datetime(1960, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC)),
    st.text("abc", min_size=1, max_size=60),
    st.integers(1, 2**159 - 1),
)
def test_it_is_what_the_certificate_says(
    tmp_path_factory: pytest.TempPathFactory, until: datetime, name: str, serial: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "expiry.crt"
    path.write_bytes(b"a line before\n" + certificate(until, name, serial) + certificate(datetime.now(UTC), "ca", 1))
    assert expiry_of(path) == until.replace(microsecond=0).timestamp()


@pytest.mark.parametrize("content", ["", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"])
def test_a_file_that_holds_none_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tls.crt"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"tls\.crt holds no PEM certificate"):
        expiry_of(path)


def test_the_metric_follows_a_renewal_and_sides_without_tls_have_none(tmp_path: Path) -> None:
    certificates, registry = Certificates(tmp_path / "ca"), CollectorRegistry()
    old = copied(certificates.edge("north", "gate", days=3), tmp_path / "edge")
    watch_certificates(registry, {"uplink": old, "frame_api": None})

    def days_left(side: str) -> float | None:
        value = registry.get_sample_value("icm_certificate_expiry_timestamp_seconds", {"side": side})
        return None if value is None else (value - datetime.now(UTC).timestamp()) / 86_400

    assert days_left("uplink") == pytest.approx(3, abs=0.1)
    assert days_left("frame_api") is None
    copied(certificates.edge("north", "gate", days=30), tmp_path / "edge")
    assert days_left("uplink") == pytest.approx(30, abs=0.1)
