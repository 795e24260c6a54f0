"""Connections for statements that walk an index in the order of their answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

_WALK = text(
    "SELECT " + ", ".join(f"set_config('{name}', 'off', true)" for name in ("enable_sort", "enable_seqscan", "jit"))
)


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
