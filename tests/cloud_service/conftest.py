"""What the cloud's tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine

from cloud_service.database.opening import open_database
from icm.codec.bitstream.record import StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame, Encoder
from icm.testing.postgres import PostgresServer
from tests.bundles import with_other_id
from tests.cloud_service.ingest_server import Cloud
from tests.cloud_service.parts import HEIGHT, WIDTH, close_stores, coded_header, open_store
from tests.databases import KINDS, postgres_server, url_of_new


@pytest.fixture(scope="session")
def loaded(bundle: Path) -> Bundle:
    """The shipped bundle, loaded."""
    return Bundle.load(bundle, threads=1)


@pytest.fixture(scope="session")
def other_bundle(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with another codec id, which does the same."""
    return Bundle.load(with_other_id(bundle, tmp_path_factory.mktemp("bundles") / "icm-other"), threads=1)


@pytest.fixture(scope="session")
def coded(loaded: Bundle) -> list[CodedFrame]:
    """Two small frames: a bright one and a dark one."""
    encoder = Encoder(loaded)
    return [encoder.encode(np.full((HEIGHT, WIDTH, 3), level, np.uint8), 5) for level in (220, 30)]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database of SQLite's; modules whose tests run on PostgreSQL too have a fixture of this name."""
    return url_of_new("sqlite", request, tmp_path)


@pytest.fixture(params=KINDS)
def each_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database, once of each kind."""
    return url_of_new(request.param, request, tmp_path)


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    yield engine
    close_stores(engine)


@pytest.fixture
async def cloud(loaded: Bundle, tmp_path: Path, database: Engine) -> AsyncIterator[Cloud]:
    async with Cloud(loaded, open_store(tmp_path / "records", database)).running() as cloud:
        yield cloud


@pytest.fixture
def of(loaded: Bundle) -> StreamHeader:
    return coded_header(loaded)
