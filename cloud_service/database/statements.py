"""Statements that SQLite and PostgreSQL have beyond the standard, for many rows at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Row, case, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute

from cloud_service.database.tables import Base

Values = Sequence[Mapping[str, Any]]
"""Rows, each by column."""
_WALK = text(
    "SELECT " + ", ".join(f"set_config('{name}', 'off', true)" for name in ("enable_sort", "enable_seqscan", "jit"))
)


@contextmanager
def transaction(database: Engine) -> Iterator[Connection]:
    """All of the block happens, or nothing. On SQLite nobody else writes meanwhile, so what it reads stays true."""
    with database.begin() as connection:
        if database.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


@contextmanager
def walking(database: Engine) -> Iterator[Connection]:
    """A connection whose statements walk indexes wherever one has the order that is asked for.

    PostgreSQL reads a whole table, or sorts all rows in question, where it believes that few pass the filters of a
    statement, or that rows lie far apart on a slow disk. What it believes changes with its statistics, and a page would
    be as slow as the archive is long. So it is told for the transaction to do neither, and not to compile statements
    that last milliseconds. SQLite walks by itself.
    """
    with database.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(_WALK)
        yield connection


def add_rows(
    connection: Connection, table: type[Base], rows: Values, returning: Sequence[InstrumentedAttribute[Any]]
) -> Sequence[Row[Any]]:
    """Adds those rows that none with the same unique values keeps out, and returns these columns of them."""
    if not rows:
        return []
    statement = _insert(connection, table).on_conflict_do_nothing().returning(*returning)
    return connection.execute(statement, list(rows)).all()


def put_rows(connection: Connection, table: type[Base], rows: Values, update: Sequence[str]) -> None:
    """Adds rows; where there is one with the same primary key, sets these columns of it. Each key may come once."""
    if not rows:
        return
    statement = _insert(connection, table)
    keys = [column.name for column in table.__table__.primary_key]
    values = {name: statement.excluded[name] for name in update}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values), list(rows))


def add_to_rows(connection: Connection, table: type[Base], rows: Values, greatest: Sequence[str] = ()) -> None:
    """Adds rows of numbers, or adds to those of a row with the same primary key. Each key may come once.

    Args:
        greatest: columns of which the greater number stays.
    """
    if not rows:
        return
    statement = _insert(connection, table)
    columns, new = table.__table__.columns, statement.excluded
    keys = [column.name for column in table.__table__.primary_key]
    values = {of.name: of + new[of.name] for of in columns if of.name not in keys}
    values |= {name: case((columns[name] < new[name], new[name]), else_=columns[name]) for name in greatest}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values), list(rows))


def _insert(connection: Connection, table: type[Base]) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
