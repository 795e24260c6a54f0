"""A past, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_service.viewer.accounts.roles import Role
from tests.cloud_service.viewer.house import Visit, add_user
from tests.cloud_service.viewer.playback.past import Past, running_past


@pytest.fixture(scope="package")
def past(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Past]:
    """``gate`` has a hole in the middle. Of ``yard`` the first segment was deleted, and of the second its video.

    ``vera`` may look at gate alone, ``anna`` at all.
    """
    folder = tmp_path_factory.mktemp("past")
    add_user(folder, "anna", Role.ADMIN)
    add_user(folder, "vera", Role.VIEWER, "gate")
    with running_past(folder, bundle) as past:
        yield past


@pytest.fixture(scope="package")
def vera(past: Past) -> Visit:
    """A viewer, logged in."""
    return past.house.logged_in("vera")
