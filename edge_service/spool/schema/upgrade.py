"""Brings a spool file up to date at the start. Its ``PRAGMA user_version`` is the number of its last step."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from edge_service.spool.schema import step_1
from icm.errors import SpoolError

_STEPS = (step_1.STATEMENTS,)
NEWEST = len(_STEPS)

COLUMNS = {
    "camera": {
        "id": "integer",
        "name": "text",
        "epoch": "integer",
        "next_sequence": "integer",
        "last_persisted": "integer",
        "bytes": "integer",
    },
    "header": {"camera": "integer", "first_sequence": "integer", "content": "blob"},
    "record": {"camera": "integer", "sequence": "integer", "spooled_us": "integer", "content": "blob"},
    "stand_in": {"camera": "integer", "sequence": "integer", "content": "blob"},
    "detection": {"camera": "integer", "spooled_us": "integer"},
}
"""The columns of the newest step's tables in their order, and what kind of value each holds."""


def upgrade(connection: sqlite3.Connection) -> None:
    """Applies the steps that a file lacks, each whole or not at all; a new file lacks all.

    Raises:
        sqlite3.Error: the file cannot be read or written.
    """
    level, connection.isolation_level = connection.isolation_level, None
    # Of a new file, before it has a table: later SQLite takes no other kind of vacuum.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    for number in range(_version(connection), NEWEST):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in _STEPS[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    connection.isolation_level = level


def check_not_newer(path: Path) -> None:
    """Finds out whether a newer release has used a spool file; changes nothing.

    A number alone proves nothing, as a disk may have flipped a bit of it: a newer release's tables differ too.

    Raises:
        SpoolError: one has.
    """
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(path)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version <= NEWEST or _tables(connection) == {table: list(of) for table, of in COLUMNS.items()}:
                return
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                return
    except sqlite3.Error:
        # What is damaged is no newer release's for that; who repairs it says what is wrong.
        return
    raise SpoolError(
        f"the spool file {path} was used by a newer icm-edge: its schema is {version}, this release knows up to"
        f" {NEWEST}. Run that release until the spool is empty, or name another spool.folder"
    )


def _version(connection: sqlite3.Connection) -> int:
    """The number of the last step that was applied; what cannot be is none, as steps do no harm twice."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return version if 0 <= version <= NEWEST else 0


def _tables(connection: sqlite3.Connection) -> dict[str, list[str]]:
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return {
        name: [column for _, column, *_ in connection.execute(f"PRAGMA table_info('{name}')")]
        for name in names
        if not name.startswith("sqlite_")
    }
