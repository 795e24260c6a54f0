"""A store with chains, made once and copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cloud_service.database.opening import open_database
from icm.service.clock import ManualClock
from tests.cloud_service.parts import START_US, close_stores
from tests.cloud_service.proof.kept import Kept
from tests.cloud_service.proof.test_keeper import delete


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store: segments 1 to 6 of the camera gate in three blocks, of which 2 was deleted, and two of the yard."""
    folder = tmp_path_factory.mktemp("made")
    database = open_database(f"sqlite:///{folder / 'cloud.db'}")
    for block in range(3):
        kept = Kept(folder, database, ManualClock(START_US + block * 1_000_000))
        kept.append(20 * block + 1, 20 * block + 20)
        if block == 0:
            kept.append(1, 20, "yard")
        if block == 1:
            kept.keeper.work()
            delete(kept, 2)
        kept.close()
    close_stores(database)
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """The same, for a test of its own."""
    return Path(shutil.copytree(made, tmp_path / "store"))


@pytest.fixture(params=["with the database", "from the files alone"])
def place(request: pytest.FixtureRequest, store: Path) -> list[str]:
    """How the command is told of the store."""
    alone = request.param == "from the files alone"
    return ["--store", str(store)] if alone else ["--set", f"store.folder={store}"]
