"""How often somebody may try to log in: by account and by address, so that guessing takes years.

Kept in memory: a restart forgives. A stranger must not be able to lock somebody out, so what counts most is failures
from one address at one account.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from math import ceil

from icm.errors import BusyError
from icm.service.clock import Clock

WINDOW_SECONDS = 300.0
MOST_OF_BOTH = 5
"""Failures at one account from one address, in the window."""
MOST_OF_AN_ADDRESS = 20
MOST_OF_AN_ACCOUNT = 100
_MOST_KEYS = 10_000
_IPV6_BITS = 64
"""Of an address, that one household or machine has to itself."""

_Key = tuple[str, str]


class LoginLimits:
    """Counts failed attempts. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        """Nobody has tried yet."""
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[_Key, deque[float]] = OrderedDict()

    def check(self, account: str, address: str) -> None:
        """Checks that another attempt is allowed.

        Raises:
            BusyError: there were too many; says for how long to wait.
        """
        now = self._clock.monotonic()
        with self._lock:
            waits = [
                failures[-most] + WINDOW_SECONDS - now
                for key, most in _keys(account, address)
                if len(failures := self._recent(key, now)) >= most
            ]
        if waits:
            seconds = ceil(max(waits))
            raise BusyError(f"too many attempts to log in failed: wait {seconds} seconds", seconds)

    def failed(self, account: str, address: str) -> None:
        """An attempt failed."""
        now = self._clock.monotonic()
        with self._lock:
            for key, most in _keys(account, address):
                failures = self._recent(key, now)
                failures.append(now)
                while len(failures) > most:
                    failures.popleft()
                self._failures[key] = failures
                self._failures.move_to_end(key)
            while len(self._failures) > _MOST_KEYS:
                self._failures.popitem(last=False)

    def succeeded(self, account: str, address: str) -> None:
        """Somebody logged in: what failed before at this account from there was a slip."""
        with self._lock:
            self._failures.pop((account, network_of(address)), None)

    def _recent(self, key: _Key, now: float) -> deque[float]:
        failures = self._failures.get(key, deque())
        while failures and failures[0] <= now - WINDOW_SECONDS:
            failures.popleft()
        return failures


def network_of(address: str) -> str:
    """The part of an address that tells who comes: of IPv6 the first half."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed) >> _IPV6_BITS << _IPV6_BITS, _IPV6_BITS)))
    return str(parsed)


def _keys(account: str, address: str) -> Iterator[tuple[_Key, int]]:
    network = network_of(address)
    yield (account, network), MOST_OF_BOTH
    yield ("", network), MOST_OF_AN_ADDRESS
    yield (account, ""), MOST_OF_AN_ACCOUNT
