"""A database server that comes up after the cloud is waited for; what waiting does not mend ends a start at once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_service.database.opening import open_database
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from icm.errors import StorageError
from icm.testing.postgres import PostgresServer
from tests.cloud_service.parts import coded_header, coded_records
from tests.cloud_service.running import running_cloud
from tests.databases import new_schema


class Unreachable(logging.Handler):
    """A server whose socket is away until somebody says that it cannot be reached."""

    def __init__(self, server: PostgresServer) -> None:
        super().__init__(logging.WARNING)
        self.url = new_schema(server)
        self._socket = server.folder / ".s.PGSQL.5432"
        self._away = self._socket.rename(server.folder / "away")
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
        self.come_back()

    def come_back(self) -> None:
        if self._away.exists():
            self._away.rename(self._socket)


@pytest.fixture
def unreachable(postgres: PostgresServer) -> Iterator[Unreachable]:
    handler = Unreachable(postgres)
    log = logging.getLogger("cloud_service.database.waiting")
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)
    handler.come_back()


async def test_a_cloud_that_starts_before_its_database_server_waits_and_says_so_once(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame], unreachable: Unreachable
) -> None:
    async with running_cloud(tmp_path, loaded, None, database=unreachable.url) as cloud:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 2))
    (said,) = unreachable.said
    assert "cannot be reached yet, trying for 60 s" in said


def test_a_server_that_does_not_come_up_in_time_is_named(unreachable: Unreachable) -> None:
    logging.getLogger("cloud_service.database.waiting").removeHandler(unreachable)
    with pytest.raises(StorageError, match="cannot open database postgresql"):
        open_database(unreachable.url, wait_seconds=0.1)


@pytest.mark.parametrize(("right", "wrong"), [("/postgres?", "/nowhere?"), ("icm@", "nobody_of_that_name@")])
def test_what_waiting_does_not_mend_ends_a_start_at_once(postgres: PostgresServer, right: str, wrong: str) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        open_database(postgres.url().replace(right, wrong), wait_seconds=3600)
