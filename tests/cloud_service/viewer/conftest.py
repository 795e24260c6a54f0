"""What the tests of the viewer share: one that runs, with an account of each kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cloud_service.viewer.accounts.roles import Role
from tests.cloud_service.viewer.house import House, add_user, running_viewer


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A viewer with the accounts ``anna`` (administers), ``otto`` (operates) and ``vera`` (sees gate and yard-*)."""
    folder = tmp_path_factory.mktemp("cloud")
    add_user(folder, "anna", Role.ADMIN)
    add_user(folder, "otto", Role.OPERATOR)
    add_user(folder, "vera", Role.VIEWER, "gate", "yard-*")
    with running_viewer(folder) as house:
        yield house
