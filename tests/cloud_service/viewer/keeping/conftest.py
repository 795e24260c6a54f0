"""A cloud and a viewer whose operators are ``otto``, who sees all cameras, and ``gus``, who sees the gate alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from cloud_service.viewer.accounts.roles import Role
from icm.client.cloud import CloudClient
from tests.cloud_service.redetection.parts import weights_in
from tests.cloud_service.viewer.house import add_user
from tests.cloud_service.viewer.live.conftest import LiveHouse, browser, live

__all__ = ["browser", "live"]

CAMERAS = ("gate", "yard-1")


@pytest.fixture(scope="package")
def kept(live: LiveHouse) -> LiveHouse:
    """With frames of both cameras in closed segments, and weights that find a cat."""
    add_user(live.house.folder, "otto", Role.OPERATOR)
    add_user(live.house.folder, "gus", Role.OPERATOR, "gate")
    weights = live.house.folder / "weights"
    weights.mkdir()
    weights_in(weights)
    for name in CAMERAS:
        camera = live.camera(name)
        for left in range(16, 208, 64):
            live.send(camera, left)
    return live


@pytest.fixture(scope="package")
def cloud(kept: LiveHouse) -> Iterator[CloudClient]:
    """A client of the same cloud; by now all its segments are closed and counted."""
    with CloudClient(f"127.0.0.1:{kept.cloud_port}") as client:
        until = datetime.now(UTC) + timedelta(seconds=60)
        while not all(is_counted(client, name) for name in CAMERAS):
            assert datetime.now(UTC) < until
            time.sleep(0.25)
        yield client


def is_counted(client: CloudClient, camera: str) -> bool:
    """Whether the cloud tells of a camera's records and of its video."""
    return {tier.tier for tier in client.storage().cameras.get(camera, ())} >= {"records", "video"}


def around_now() -> tuple[str, str]:
    """From ten minutes ago until in ten minutes, as fields have it."""
    now = datetime.now(UTC)
    return tuple(f"{now + timedelta(minutes=by):%Y-%m-%dT%H:%M:%S}" for by in (-10, 10))  # type: ignore[return-value]
