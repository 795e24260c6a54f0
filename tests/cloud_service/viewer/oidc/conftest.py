"""A viewer at which people log in by a real provider, a process of its own: ``oidc-provider-mock`` of PyPI."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from cloud_service.viewer.accounts.roles import Role
from tests.browser import chromium
from tests.cloud_service.viewer.house import House, add_camera, add_user, make_database, running_viewer


def free_port() -> int:
    """A port that nothing listens on: an issuer's and an origin's address must be known before their services run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class RunningProvider:
    """A provider of OpenID Connect, which can be killed and started again at its address.

    Attributes:
        issuer: its address.
    """

    def __init__(self) -> None:
        self._port = free_port()
        self.issuer = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        arguments = ["-m", "oidc_provider_mock", "--port", str(self._port), "--require-nonce", "true"]
        self._process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(self.issuer)
                return
            except httpx.TransportError:
                assert self._process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def person(self, subject: str, **claims: Any) -> None:
        """Somebody who can log in there, called ``subject``."""
        assert httpx.put(f"{self.issuer}/users/{subject}", json=claims).status_code == 204

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="package")
def provider() -> Iterator[RunningProvider]:
    provider = RunningProvider()
    yield provider
    provider.kill()


def settings_of(issuer: str, port: int, secret: Path) -> dict[str, Any]:
    """The viewer's section, with a group for each role."""
    secret.write_text("a secret between viewer and provider\n")
    return {
        "address": f"127.0.0.1:{port}",
        "origin": f"http://127.0.0.1:{port}",
        "oidc": {
            "issuer": issuer,
            "client_id": "icm",
            "secret_file": str(secret),
            "label": "Log in with Example",
            "roles": [
                {"group": "chiefs", "role": "admin"},
                {"group": "yard-guards", "role": "viewer", "cameras": ["yard-*"]},
                {"group": "gate-guards", "role": "viewer", "cameras": ["gate"]},
            ],
        },
    }


@pytest.fixture(scope="package")
def oidc_house(provider: RunningProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """With the cameras ``gate``, ``yard-1`` and ``cellar``, and the account ``anna``, which was made here."""
    folder = tmp_path_factory.mktemp("oidc")
    make_database(folder)
    for name in ("gate", "yard-1", "cellar"):
        add_camera(folder, name, last_us=1_790_000_000_250_000)
    add_user(folder, "anna", Role.ADMIN)
    with running_viewer(folder, settings_of(provider.issuer, free_port(), folder / "oidc.secret")) as house:
        yield house


@pytest.fixture(scope="module")
def browser(oidc_house: House) -> Iterator[Browser]:
    """Begun after the services, and ended before: playwright has an event loop in this thread."""
    with chromium() as browser:
        yield browser
