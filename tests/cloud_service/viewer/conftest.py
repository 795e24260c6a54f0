"""What the tests of the viewer share: one that runs, with an account of each kind and some cameras."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cloud_service.viewer.accounts.roles import Role
from tests.cloud_service.viewer.house import House, add_camera, add_user, make_database, running_viewer


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A viewer with the accounts ``anna`` (administers), ``otto`` (operates) and ``vera`` (sees gate and yard-*), and
    the cameras ``gate``, ``yard-1`` and ``cellar``, of which the last has no record that is done with.
    """
    folder = tmp_path_factory.mktemp("cloud")
    make_database(folder)
    add_camera(folder, "gate", last_us=1_790_000_000_250_000)
    add_camera(folder, "yard-1", last_us=1_790_000_001_000_000)
    add_camera(folder, "cellar", last_us=None)
    add_user(folder, "anna", Role.ADMIN)
    add_user(folder, "otto", Role.OPERATOR)
    add_user(folder, "vera", Role.VIEWER, "gate", "yard-*")
    with running_viewer(folder) as house:
        yield house
