"""A cloud starts with whatever is left of its SQLite file, and all that was in it is made again from the records."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.database.opening import open_database
from cloud_service.events.store import EventStore
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from tests.cloud_service.parts import BrightnessDetector, coded_header, coded_records, open_store
from tests.cloud_service.running import running_cloud
from tests.cloud_service.store.test_store import files, read_all

FRAMES = 25


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def no_whole_page(path: Path) -> None:
    os.truncate(path, 1000)


def noise(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(40_000))


def noise_behind_its_first_page(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + random.Random(2).randbytes(len(whole) - 4096))


def scattered_noise(path: Path) -> None:
    dice, whole = random.Random(3), bytearray(path.read_bytes())
    for _ in range(4000):
        whole[dice.randrange(len(whole))] = dice.randrange(256)
    path.write_bytes(whole)


def its_start_overwritten(path: Path) -> None:
    path.write_bytes(bytes(100) + path.read_bytes()[100:])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def gone(path: Path) -> None:
    path.unlink()


def words(path: Path) -> None:
    path.write_text("this is no database\n" * 300)


def a_journal_of_noise(path: Path) -> None:
    path.with_name(f"{path.name}-wal").write_bytes(random.Random(4).randbytes(9000))
    path.with_name(f"{path.name}-shm").write_bytes(random.Random(5).randbytes(9000))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, loaded: Bundle, coded: list[CodedFrame]) -> Path:
    """Folder of a cloud that looked at all its frames."""
    folder = tmp_path_factory.mktemp("template")

    async def fill() -> None:
        async with running_cloud(folder, loaded, BrightnessDetector()) as cloud:
            await cloud.deliver(coded_header(loaded), coded_records(coded, FRAMES))

    asyncio.run(fill())
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "cloud"))


def seen(folder: Path) -> list[int]:
    database = open_database(f"sqlite:///{folder}/cloud.db")
    try:
        return sorted(event.key.sequence for event in EventStore(database).search("gate", limit=1000))
    finally:
        database.dispose()


DAMAGES = [
    half,
    no_whole_page,
    noise,
    noise_behind_its_first_page,
    scattered_noise,
    its_start_overwritten,
    empty,
    gone,
    words,
    a_journal_of_noise,
]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_cloud_starts_with_any_database_and_makes_again_what_was_in_it(
    folder: Path, loaded: Bundle, coded: list[CodedFrame], damage: Callable[[Path], None]
) -> None:
    before = {path: path.read_bytes() for path in files(folder)}
    damage(folder / "cloud.db")
    async with running_cloud(folder, loaded, BrightnessDetector()) as cloud:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 1, first=FRAMES + 1))
    assert seen(folder) == list(range(1, FRAMES + 2))
    assert all(path.read_bytes() == content for path, content in before.items())
    database = open_database(f"sqlite:///{folder}/cloud.db")
    assert read_all(open_store(folder / "records", database)) == list(range(1, FRAMES + 2))
    database.dispose()


async def test_damage_that_shows_later_is_a_health_problem_and_the_next_start_is_rid_of_it(
    folder: Path, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    """In tables that a start does not read."""
    database = open_database(f"sqlite:///{folder}/cloud.db")
    with database.connect() as connection:
        pages = [
            page
            for name in ("frames", "detections")
            for (page,) in connection.execute(
                text("SELECT rootpage FROM sqlite_schema WHERE tbl_name = :name"), {"name": name}
            )
        ]
    database.dispose()
    with (folder / "cloud.db").open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * 4096)
            file.write(random.Random(page).randbytes(4096))
    async with running_cloud(folder, loaded, BrightnessDetector(), drain_seconds=0.0) as cloud:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 1, first=FRAMES + 1))
        health = ""
        while "restart icm-cloud, which sets it aside" not in health:
            with suppress(OSError):
                health = await asyncio.to_thread(fetch_health, cloud.app.metrics_port)
            await asyncio.sleep(0.05)
    async with running_cloud(folder, loaded, BrightnessDetector()):
        pass
    assert seen(folder) == list(range(1, FRAMES + 2))
    assert (folder / "cloud.db.damaged").exists()
    assert not (folder / "cloud.db.suspect").exists()


async def test_a_suspicion_that_nothing_bears_out_costs_nothing(folder: Path, loaded: Bundle) -> None:
    (folder / "cloud.db.suspect").touch()
    async with running_cloud(folder, loaded, BrightnessDetector()):
        pass
    assert seen(folder) == list(range(1, FRAMES + 1))
    assert not (folder / "cloud.db.damaged").exists()
    assert not (folder / "cloud.db.suspect").exists()


def test_a_statement_that_is_wrong_raises_no_suspicion(template: Path) -> None:
    database = open_database(f"sqlite:///{template}/cloud.db")
    with pytest.raises(SQLAlchemyError), database.begin() as connection:
        connection.execute(text("SELECT nothing FROM nowhere"))
    assert not (template / "cloud.db.suspect").exists()
    database.dispose()


def fetch_health(port: int) -> str:
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
            return str(answer.read().decode())
    except HTTPError as error:
        return str(error.read().decode())
