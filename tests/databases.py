"""The databases that tests run on: a file of SQLite's, or one of a PostgreSQL server that the session starts once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from icm.testing.postgres import PostgresServer, find_programs
from tests.debian_tools import UNPACKED, environment, leave_out

KINDS = ("sqlite", "postgresql")
_numbers = count(1)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server; the test is left out where PostgreSQL is neither installed nor unpacked."""
    programs = find_programs([UNPACKED])
    if programs is None:
        leave_out("needs PostgreSQL: make tools")
    with PostgresServer(programs, durable=False, environment=environment()) as server:
        yield server


def url_of_new(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """URL of an empty database of a kind, in a folder or in the session's server."""
    if kind == "postgresql":
        return new_schema(request.getfixturevalue("postgres"))
    return f"sqlite:///{folder / 'cloud.db'}"


def new_schema(server: PostgresServer) -> str:
    """URL under which all is in a schema of its own; a database for each test would take a second and 300 files."""
    name = f"test_{next(_numbers)}"
    engine = create_engine(server.url())
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    engine.dispose()
    return f"{server.url()}&options=-csearch_path%3D{name}"
