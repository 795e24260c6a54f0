"""host:port is taken apart in one place, and what is none is told with what to write."""

from __future__ import annotations

import ipaddress
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm.config.addresses import HostPort, parse_address
from icm.config.assignments import parse_assignments
from icm.config.settings import Address, PeerAddress, ServiceSettings, load_settings
from icm.errors import ConfigError


class Call(ServiceSettings):
    here: Address = "127.0.0.1:0"
    there: PeerAddress = "127.0.0.1:1"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("cloud.example:65535", "cloud.example", 65535),
        ("icm_cloud:7443", "icm_cloud", 7443),
        ("[::1]:7443", "::1", 7443),
        ("[fe80::1%eth0]:7443", "fe80::1%eth0", 7443),
        ("[::ffff:10.0.0.5]:1", "::ffff:10.0.0.5", 1),
    ],
)
def test_an_address_is_taken_apart_and_put_together_again(text: str, host: str, port: int) -> None:
    assert parse_address(text) == HostPort(host, port)
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("localhost", "the port is missing"),
        ("localhost:", "no such port"),
        ("localhost:65536", "no such port"),
        ("localhost:-1", "no such port"),
        ("localhost:\u0667", "no such port"),
        ("localhost:https", "no such port"),
        (":7443", "no host name"),
        ("*:7443", "no host name"),
        ("clo ud:7443", "no host name"),
        ("me@cloud:7443", "no host name"),
        ("cloud/x:7443", "no host name"),
        ("http://cloud:7443", "leave out what stands before and with the ://"),
        ("unix:/run/icm:1", "IPv6 address stands in brackets"),
        ("::1:7443", r"write \[::1\]:7443"),
        ("fe80::1:7443", r"write \[fe80::1\]:7443"),
        ("[::1]", "the port is missing after the brackets"),
        ("[::1]7443", "IPv6 address stands in brackets|no host name"),
        ("[cloud]:7443", "no IPv6 address"),
        ("[::1]:", "no such port"),
        ("0:7443", "no IPv4 address"),
        ("256.0.0.1:7443", "no IPv4 address"),
        ("1.2.3:7443", "no IPv4 address"),
    ],
)
def test_what_is_no_address_is_told_with_what_to_write(text: str, fix: str) -> None:
    with pytest.raises(ConfigError, match=f"host:port with a port of 0 to 65535.*(?:{fix})"):
        parse_address(text)
    with pytest.raises(ConfigError, match=f"here: .*(?:{fix})"):
        load_settings(Call, None, {"here": text})


def test_nobody_is_reached_at_port_0() -> None:
    with pytest.raises(ConfigError, match="there: nobody can be reached at port 0"):
        load_settings(Call, None, {"there": "cloud:0"})


@pytest.mark.parametrize("address", ["[::1]:7443", "[fe80::1%eth0]:7443", "[2001:db8::1]:1"])
def test_an_ipv6_address_can_be_given_in_a_flag_and_the_environment(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings(Call, None, parse_assignments([f"there={address}"])).there == address

    class Called(Call):
        model_config = {"env_prefix": "TEST_CALL_"}  # noqa: RUF012

    monkeypatch.setenv("TEST_CALL_THERE", address)
    assert load_settings(Called, None, {}).there == address


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "LocalHost", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_known_by_all_its_names(host: str) -> None:
    assert HostPort(host, 1).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "cloud", "127.0.0.1.example.org", "::ffff:10.0.0.1"])
def test_others_are_not_this_machine(host: str) -> None:
    assert not HostPort(host, 1).is_loopback


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_ip_address_and_port_can_be_written(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    assert parse_address(str(HostPort(str(ip), port))) == HostPort(str(ip), port)


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_one_error(text: str) -> None:
    with suppress(ConfigError):
        assert 0 <= parse_address(text).port <= 65535
