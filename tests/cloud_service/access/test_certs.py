"""``icm-cloud certs``: what is issued is good for what it says, secrets are the owner's alone, and lists are signed."""

from __future__ import annotations

import ssl
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from cloud_service.access.certificates.authority import AUTHORITY_DAYS, MOST_DAYS, Authority
from cloud_service.access.certificates.grants import Grants, alternative_names, granting, grants_of
from cloud_service.access.certificates.revocation import RevocationLists
from cloud_service.cli import main
from cloud_service.commands import CONFIG_STATUS
from icm.errors import ConfigError, NotFoundError, PermissionDeniedError
from icm.rpc.tls import check_tls
from icm.service.clock import ManualClock
from tests.certificates import Certificates, files_in


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certs", ManualClock())


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_certificate_names_its_cameras_as_uris_and_its_hosts(certificates: Certificates) -> None:
    folder = certificates.authority.issue(granting("north", ["yard", "gate"], False), ["10.0.0.5", "edge.example"])
    issued = certificate(folder / "tls.crt")
    assert sorted(alternative_names(issued, x509.UniformResourceIdentifier)) == ["icm:camera:gate", "icm:camera:yard"]
    assert alternative_names(issued, x509.IPAddress) == ["10.0.0.5"]
    assert alternative_names(issued, x509.DNSName) == ["edge.example"]
    assert grants_of(issued) == Grants("north", frozenset({"gate", "yard"}))


def test_a_clients_certificate_is_no_servers_and_the_other_way_round(certificates: Certificates) -> None:
    def usages(settings_certificate: Path) -> set[str]:
        extension = certificate(settings_certificate).extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        return {usage._name for usage in extension.value}

    assert usages(certificates.edge("north", "gate").certificate) == {"clientAuth"}
    assert usages(certificates.server().certificate) == {"serverAuth"}


def test_openssl_takes_what_is_issued(certificates: Certificates) -> None:
    settings = certificates.server()
    check_tls(settings)
    issued = certificate(settings.certificate)
    issued.verify_directly_issued_by(certificates.authority.certificate)
    context = ssl.create_default_context(cafile=str(settings.authority))
    assert context.cert_store_stats()["x509_ca"] == 1


def test_only_the_owner_may_read_keys(certificates: Certificates) -> None:
    keys = [certificates.folder / "ca.key", certificates.edge("north", "gate").key]
    assert [stat.S_IMODE(key.stat().st_mode) for key in keys] == [0o600, 0o600]
    assert not list(certificates.folder.rglob(".*"))


def test_lifetimes_are_what_was_asked_for_and_bounded(certificates: Certificates) -> None:
    issued = certificate(certificates.edge("north", "gate", days=30).certificate)
    assert issued.not_valid_after_utc - issued.not_valid_before_utc == timedelta(days=30, hours=1)
    root = certificates.authority.certificate
    assert root.not_valid_after_utc - root.not_valid_before_utc == timedelta(days=AUTHORITY_DAYS, hours=1)
    for days in (0, MOST_DAYS + 1):
        with pytest.raises(ConfigError, match=f"1 to {MOST_DAYS} days"):
            certificates.edge("north", "gate", days=days)


@pytest.mark.parametrize("name", ["", "../north", "a/b", ".hidden", "North", "a" * 65, "a\n"])
def test_a_name_cannot_leave_the_folder(certificates: Certificates, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a certificate"):
        certificates.edge(name, "gate")


@pytest.mark.parametrize("camera", ["../gate", "a/b", "Gate", ""])
def test_a_certificate_names_no_camera_that_cannot_be(certificates: Certificates, camera: str) -> None:
    with pytest.raises(ConfigError, match="camera name"):
        certificates.edge("north", camera)


@pytest.mark.parametrize(
    "host", ["cloud:7443", "a b", "-x", "*.example", "", "a..b", "a" * 64, "a-cloud-with_a_long_name" * 8]
)
def test_a_host_that_is_none_is_named(certificates: Certificates, host: str) -> None:
    with pytest.raises(ConfigError, match="no host name or IP address"):
        certificates.server(hosts=[host])


def test_a_certificate_that_is_good_for_nothing_is_not_issued(certificates: Certificates) -> None:
    with pytest.raises(ConfigError, match="--camera, --reader, or --host"):
        certificates.edge("north")


def test_an_authority_is_never_replaced(certificates: Certificates) -> None:
    key = (certificates.folder / "ca.key").read_bytes()
    with pytest.raises(ConfigError, match="already"):
        Authority.create(certificates.folder, ManualClock())
    assert (certificates.folder / "ca.key").read_bytes() == key


def test_revoking_by_name_takes_all_of_it_and_by_serial_number_just_one(certificates: Certificates) -> None:
    first = certificate(certificates.edge("north", "gate").certificate)
    second = certificate(certificates.edge("north", "gate").certificate)
    certificates.edge("south", "yard")
    lists = RevocationLists(certificates.revoked, certificates.folder / "ca.crt")
    certificates.authority.revoke(f"{first.serial_number:x}")
    assert (lists.revoked(first), lists.revoked(second)) == (True, False)
    assert [issued.certificate for issued in certificates.authority.revoke("north")] == [second]
    assert lists.revoked(second)
    assert [(issued.name, issued.revoked) for issued in certificates.authority.issued()] == [
        ("north", True),
        ("north", True),
        ("south", False),
    ]


def test_revoking_what_was_never_issued_is_an_error(certificates: Certificates) -> None:
    with pytest.raises(NotFoundError, match="certs list"):
        certificates.authority.revoke("nobody")


def test_a_list_that_somebody_else_signed_is_refused_and_a_later_one_changes_nothing(
    certificates: Certificates, tmp_path: Path
) -> None:
    other = Certificates(tmp_path / "other", ManualClock())
    authority = certificates.folder / "ca.crt"
    with pytest.raises(ConfigError, match="not signed by an authority in"):
        RevocationLists(other.revoked, authority)
    north = certificate(certificates.edge("north", "gate").certificate)
    certificates.authority.revoke("north")
    lists = RevocationLists(certificates.revoked, authority)
    for forged in (other.revoked.read_bytes(), b"", b"-----BEGIN X509 CRL-----\nAA==\n-----END X509 CRL-----\n"):
        certificates.revoked.write_bytes(forged)
        assert lists.revoked(north)


def test_lists_of_several_authorities_share_a_file(certificates: Certificates, tmp_path: Path) -> None:
    other = Certificates(tmp_path / "other", ManualClock())
    both, authorities = tmp_path / "crl.pem", tmp_path / "ca.crt"
    found = [certificate(certs.edge("north", "gate").certificate) for certs in (certificates, other)]
    for certs in (certificates, other):
        certs.authority.revoke("north")
    both.write_bytes(certificates.revoked.read_bytes() + other.revoked.read_bytes())
    authorities.write_bytes(b"".join((certs.folder / "ca.crt").read_bytes() for certs in (certificates, other)))
    lists = RevocationLists(both, authorities)
    assert [lists.revoked(north) for north in found] == [True, True]


CAMERAS = st.frozensets(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,9}", fullmatch=True), max_size=4)


@given(CAMERAS, st.booleans(), st.text(max_size=8))
def test_grants_allow_what_they_name_and_nothing_else(cameras: frozenset[str], reader: bool, other: str) -> None:
    grants = granting("holder", cameras, reader)
    for camera in cameras:
        grants.check_delivers(camera)
        grants.check_reads(camera)
    if other not in cameras:
        with pytest.raises(PermissionDeniedError, match="may not deliver"):
            grants.check_delivers(other)
        assert grants.reads(other) == reader


def test_the_commands_make_what_a_cloud_and_an_edge_need(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "certs"
    place = ("--folder", str(folder))
    assert main(["certs", "init", *place]) == 0
    assert main(["certs", "issue", "cloud", "--host", "127.0.0.1", *place]) == 0
    assert main(["certs", "issue", "north", "--camera", "gate", "--camera", "yard", *place]) == 0
    assert main(["certs", "issue", "viewer", "--reader", *place]) == 0
    assert main(["certs", "revoke", "viewer", *place]) == 0
    capsys.readouterr()
    assert main(["certs", "list", *place]) == 0
    listed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in listed] == ["cloud", "north", "viewer"]
    assert listed[0][-1] == "host:127.0.0.1"
    assert listed[1][-2:] == ["icm:camera:gate", "icm:camera:yard"]
    assert listed[2][2:] == ["revoked", "icm:reader"]
    for name in ("cloud", "north", "viewer"):
        check_tls(files_in(folder / "for" / name))


@pytest.mark.parametrize("command", [["issue", "north", "--camera", "gate"], ["list"], ["revoke", "north"]])
def test_a_command_without_an_authority_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main(["certs", *command, "--folder", str(tmp_path)]) == CONFIG_STATUS
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "icm-cloud certs init" in error


@pytest.mark.parametrize("damaged", ["ca.crt", "ca.key", "crl.pem"])
def test_a_damaged_file_of_the_authority_is_named(
    certificates: Certificates, capsys: pytest.CaptureFixture[str], damaged: str
) -> None:
    path = certificates.folder / damaged
    path.write_text("-----BEGIN NONSENSE-----")
    assert main(["certs", "list", "--folder", str(certificates.folder)]) == CONFIG_STATUS
    assert str(path) in capsys.readouterr().err


def test_no_command_prints_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["init"], ["issue", "north", "--camera", "gate"], ["list"], ["revoke", "north"]):
        assert main(["certs", *command, "--folder", str(tmp_path)]) == 0
    shown = "".join(capsys.readouterr())
    for key in (tmp_path / "ca.key", tmp_path / "for/north/tls.key"):
        assert key.read_text().splitlines()[1] not in shown
    assert "PRIVATE" not in shown
