"""A store and a database belong to one cloud and to each other; what does not fit is refused by name, untouched."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from cloud_service.database.opening import open_database
from cloud_service.store.identity import check_identity
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from icm.errors import StorageError
from tests.cloud_service.parts import coded_header, coded_records, open_store
from tests.cloud_service.running import app_in, running_cloud
from tests.cloud_service.store.test_store import append, read_all


def content(folder: Path) -> dict[Path, bytes]:
    """What lies below a folder, but for what a database that is open writes by itself."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "cloud.db-" not in path.name}


async def test_a_second_cloud_on_a_store_is_refused_by_name_before_it_touches_anything(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 5))
        before = content(tmp_path / "records")
        with pytest.raises(StorageError, match=rf"{tmp_path}/records is in use by another icm-cloud \(process \d+ on "):
            app_in(tmp_path, loaded, None)
        assert content(tmp_path / "records") == before
        await cloud.deliver(coded_header(loaded), coded_records(coded, 8, first=6))
    async with running_cloud(tmp_path, loaded, None) as cloud:
        assert cloud.app  # the first has let go
    assert read_all(open_store(tmp_path / "records", open_database(f"sqlite:///{tmp_path}/cloud.db"))) == [
        *range(1, 14)
    ]


async def test_a_second_cloud_on_a_database_is_refused_by_name(tmp_path: Path, loaded: Bundle) -> None:
    database = f"sqlite:///{tmp_path}/cloud.db"
    async with running_cloud(tmp_path, loaded, None):
        with pytest.raises(StorageError, match=rf"the database {tmp_path}/cloud.db is in use by another icm-cloud"):
            app_in(tmp_path / "other", loaded, None, database=database)
    with pytest.raises(StorageError, match="belongs to record store"):
        app_in(tmp_path / "other", loaded, None, database=database)
    async with running_cloud(tmp_path, loaded, None):
        """What was refused has let go of what it had."""


def test_a_database_of_another_store_is_refused_and_both_are_named(tmp_path: Path) -> None:
    for name in ("north", "south"):
        database = open_database(f"sqlite:///{tmp_path}/{name}.db")
        (tmp_path / name).mkdir()
        check_identity(tmp_path / name, database)
        append(open_store(tmp_path / name, database), 1, 2, 3)
        database.dispose()
    north, south = ((tmp_path / name / "store.id").read_text().strip() for name in ("north", "south"))
    database = open_database(f"sqlite:///{tmp_path}/north.db")
    with pytest.raises(StorageError, match=rf"north.db belongs to record store {north}, but .*south is .*{south}"):
        check_identity(tmp_path / "south", database)
    check_identity(tmp_path / "north", database)


def test_a_store_whose_disk_is_not_mounted_is_refused(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/cloud.db")
    (tmp_path / "records").mkdir()
    check_identity(tmp_path / "records", database)
    (tmp_path / "records").rename(tmp_path / "unmounted")
    (tmp_path / "records").mkdir()
    with pytest.raises(StorageError, match="mount the disk that belongs to it"):
        check_identity(tmp_path / "records", database)
    assert not list((tmp_path / "records").iterdir())


@pytest.mark.parametrize("crash", ["none", "before the database was told"])
def test_a_new_database_is_the_stores_from_its_first_start_on(tmp_path: Path, crash: str) -> None:
    records = tmp_path / "records"
    records.mkdir()
    for name in ("one", "two"):
        database = open_database(f"sqlite:///{tmp_path}/{name}.db")
        check_identity(records, database)
        if crash != "none":
            with database.begin() as connection:
                connection.execute(text("DELETE FROM store"))
            check_identity(records, database)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(StorageError, match="belongs to record store"):
        check_identity(other, database)


def test_a_name_of_a_store_that_is_damaged_is_no_new_one(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/cloud.db")
    check_identity(tmp_path, database)
    (tmp_path / "store.id").write_bytes(b"\xff\xfe")
    with pytest.raises(StorageError, match=r"store\.id is damaged"):
        check_identity(tmp_path, database)


async def test_a_copy_of_yesterdays_database_costs_nothing_that_was_acknowledged(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    of = coded_header(loaded)
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await cloud.deliver(of, coded_records(coded, 5))
    yesterday = (tmp_path / "cloud.db").read_bytes()
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await cloud.deliver(of, coded_records(coded, 20, first=6))
    (tmp_path / "cloud.db").write_bytes(yesterday)
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await cloud.deliver(of, coded_records(coded, 2, first=26))
    database = open_database(f"sqlite:///{tmp_path}/cloud.db")
    assert read_all(open_store(tmp_path / "records", database)) == list(range(1, 28))
    assert not [path for path in (tmp_path / "records").rglob("*.damaged")]
