"""The spool's statements on records, each inside a transaction of its caller.

A P record can be decoded only after the one before it. So where records go that the cloud does not have, the next one
that stays has to be an I record, or a P record whose *intra copy* the spool keeps, the same frame coded as an I record,
which then takes its place. P records without one go too.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from icm.codec.bitstream.record import RECORD_OVERHEAD, is_intra

SPARE_PAGES = 1024
"""Pages of 4 KiB that the file keeps for what comes next; what deletions free beyond them goes back to the disk."""
_PAGES_AT_ONCE = 1024


class Gone(NamedTuple):
    """Records that went, the bytes that this freed, intra copies included, and the last sequence of them."""

    records: int
    bytes: int
    last: int


def delete(connection: sqlite3.Connection, camera: int, first: int, last: int) -> Gone:
    """Lets the records ``first`` to ``last`` go."""
    where = "WHERE camera = ? AND sequence BETWEEN ? AND ?"
    records, size = 0, 0
    for table in ("record", "stand_in"):
        count, held = connection.execute(
            f"SELECT count(*), coalesce(sum(length(content)), 0) FROM {table} {where}", (camera, first, last)
        ).fetchone()
        if count:
            connection.execute(f"DELETE FROM {table} {where}", (camera, first, last))
        records, size = records or count, size + held
    connection.execute("UPDATE camera SET bytes = bytes - ? WHERE id = ?", (size, camera))
    # Headers that no record is left under; the newest stays, because more records may follow under it.
    connection.execute(
        "DELETE FROM header WHERE camera = :camera AND first_sequence < (SELECT max(first_sequence) FROM header"
        " WHERE camera = :camera AND first_sequence <= coalesce((SELECT min(sequence) FROM record"
        " WHERE camera = :camera), 1 << 62))",
        {"camera": camera},
    )
    return Gone(records, size, last)


def restart_at_intra(connection: sqlite3.Connection, camera: int, after: int) -> Gone:
    """Makes the first record after a sequence an I record; those that cannot become one go.

    Returns:
        What went; its ``last`` is the highest sequence that the next record must not refer to, ``after`` at least.
    """
    last = after
    rows = connection.execute(
        "SELECT record.sequence, substr(record.content, 1, ?), stand_in.content FROM record LEFT JOIN stand_in"
        " USING (camera, sequence) WHERE camera = ? AND record.sequence > ? ORDER BY record.sequence",
        (RECORD_OVERHEAD, camera, after),
    )
    intra_copy = None
    for sequence, start, content in rows:
        if is_intra(start):
            break
        if content is not None:
            intra_copy = sequence, content
            break
        last = sequence
    rows.close()
    gone = delete(connection, camera, after + 1, last) if last > after else Gone(0, 0, after)
    return gone._replace(bytes=gone.bytes + (_replace(connection, camera, *intra_copy) if intra_copy else 0))


def first_waiting(connection: sqlite3.Connection, camera: int, after: int = 0) -> int | None:
    """The lowest sequence above ``after`` that waits."""
    (sequence,) = connection.execute(
        "SELECT min(sequence) FROM record WHERE camera = ? AND sequence > ?", (camera, after)
    ).fetchone()
    return None if sequence is None else int(sequence)


def shrink(connection: sqlite3.Connection) -> None:
    """Gives some of the pages that hold nothing back to the disk; a spool that drained is small again soon. Not inside
    a transaction.
    """
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    if free > SPARE_PAGES:
        # `execute` would take the first step of it only, which is a single page.
        connection.executescript(f"PRAGMA incremental_vacuum({min(free - SPARE_PAGES, _PAGES_AT_ONCE)})")


def _replace(connection: sqlite3.Connection, camera: int, sequence: int, content: bytes) -> int:
    """Puts an intra copy in its record's place; returns how many bytes that frees."""
    where = (camera, sequence)
    (size,) = connection.execute(
        "SELECT length(content) FROM record WHERE camera = ? AND sequence = ?", where
    ).fetchone()
    connection.execute("UPDATE record SET content = ? WHERE camera = ? AND sequence = ?", (content, *where))
    connection.execute("DELETE FROM stand_in WHERE camera = ? AND sequence = ?", where)
    connection.execute("UPDATE camera SET bytes = bytes - ? WHERE id = ?", (size, camera))
    return int(size)
