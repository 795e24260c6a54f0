"""Passwords, and how often somebody may try."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from cloud_service.viewer.accounts.login_limits import (
    MOST_OF_AN_ACCOUNT,
    MOST_OF_AN_ADDRESS,
    MOST_OF_BOTH,
    WINDOW_SECONDS,
    LoginLimits,
    network_of,
)
from cloud_service.viewer.accounts.passwords import Passwords, check_password
from icm.errors import BusyError, ConfigError
from icm.service.clock import ManualClock
from tests.cloud_service.viewer.house import KEPT, PASSWORD


def test_a_password_is_kept_as_argon2id_and_matches_itself_alone() -> None:
    passwords = Passwords()
    assert KEPT.startswith("$argon2id$")
    assert PASSWORD not in KEPT
    assert passwords.matches(PASSWORD, KEPT)
    assert not passwords.matches(PASSWORD + " ", KEPT)
    assert not passwords.matches(PASSWORD, None)
    assert not passwords.matches("nobody has this password", None)
    assert not passwords.matches(PASSWORD, "nonsense")
    assert not passwords.matches("x" * 100_000, KEPT)


def test_one_that_was_kept_with_less_effort_is_known() -> None:
    passwords = Passwords()
    assert passwords.is_of_before(PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD))
    assert not passwords.is_of_before(KEPT)


@pytest.mark.parametrize(
    ("password", "name"),
    [
        ("", "vera"),
        ("short", "vera"),
        ("x" * 257, "vera"),
        ("a few words\nwill do", "vera"),
        ("abababababab", "vera"),
        ("veravera-veraX", "veravera-vera"),
    ],
)
def test_a_password_that_is_not_fit_is_refused(password: str, name: str) -> None:
    with pytest.raises(ConfigError, match="a password"):
        check_password(password, name)


def fail(limits: LoginLimits, account: str, address: str, times: int) -> None:
    for _ in range(times):
        limits.check(account, address)
        limits.failed(account, address)


def test_after_some_failures_an_address_waits_at_that_account_and_others_do_not() -> None:
    clock = ManualClock()
    limits = LoginLimits(clock)
    fail(limits, "vera", "192.0.2.1", MOST_OF_BOTH)
    with pytest.raises(BusyError, match=f"wait {WINDOW_SECONDS:.0f} seconds") as error:
        limits.check("vera", "192.0.2.1")
    assert error.value.retry_seconds == WINDOW_SECONDS
    limits.check("vera", "192.0.2.2")
    limits.check("otto", "192.0.2.1")
    clock.advance(WINDOW_SECONDS)
    limits.check("vera", "192.0.2.1")


def test_one_address_cannot_try_many_accounts_nor_many_addresses_one() -> None:
    limits = LoginLimits(ManualClock())
    for number in range(MOST_OF_AN_ADDRESS):
        fail(limits, f"user{number}", "2001:db8::1", 1)
    with pytest.raises(BusyError):
        limits.check("another", "2001:db8::ffff")
    for number in range(MOST_OF_AN_ACCOUNT):
        fail(limits, "vera", f"10.0.{number}.1", 1)
    with pytest.raises(BusyError):
        limits.check("vera", "198.51.100.1")


def test_who_logs_in_is_forgiven_slips() -> None:
    limits = LoginLimits(ManualClock())
    fail(limits, "vera", "192.0.2.1", MOST_OF_BOTH - 1)
    limits.succeeded("vera", "192.0.2.1")
    fail(limits, "vera", "192.0.2.1", MOST_OF_BOTH)


def test_what_is_remembered_is_bounded() -> None:
    limits = LoginLimits(ManualClock())
    for number in range(12_000):
        limits.failed(f"user{number}", f"10.{number >> 8}.{number & 255}.1")
    assert len(limits._failures) <= 10_000


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_addresses_count_as_those_who_have_them(address: str, network: str) -> None:
    assert network_of(address) == network
