"""The spool's statements on epochs, each inside a transaction, or a read, of its caller.

Records of several epochs may wait: each record's stream header says which is its own. A later epoch's sequences follow
those of the one before.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from icm.codec.bitstream.record import StreamHeader


def begin_epoch(connection: sqlite3.Connection, camera: int, epoch: int, first: int) -> None:
    """Gives a camera a new epoch, and with it those of its records that wait from the sequence ``first`` on. Their
    bytes do not name it, only their headers do.
    """
    connection.execute("UPDATE camera SET epoch = ? WHERE id = ?", (epoch, camera))
    (following,) = connection.execute("SELECT next_sequence FROM camera WHERE id = ?", (camera,)).fetchone()
    headers: list[tuple[int, bytes]] = connection.execute(
        "SELECT first_sequence, content FROM header WHERE camera = ? ORDER BY first_sequence", (camera,)
    ).fetchall()
    before = [content for begins, content in headers if begins < first]
    after = [(begins, content) for begins, content in headers if begins >= first]
    if before and first < following and first not in (begins for begins, _ in after):
        after.append((first, before[-1]))
    for begins, content in after:
        renamed = replace(StreamHeader.parse(content)[0], epoch=epoch).pack()
        connection.execute("INSERT OR REPLACE INTO header VALUES (?, ?, ?)", (camera, begins, renamed))


def end_of_epoch(connection: sqlite3.Connection, camera: int, epoch: int, following: int) -> int:
    """The last sequence that can be of an epoch, or of one before it: what comes after is of a later one."""
    for begins, content in connection.execute(
        "SELECT first_sequence, content FROM header WHERE camera = ? ORDER BY first_sequence", (camera,)
    ):
        if StreamHeader.parse(content)[0].epoch > epoch:
            return int(begins) - 1
    return following - 1
