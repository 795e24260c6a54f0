"""What a start makes of a damaged spool file: it is set aside, and what can still be read of it goes into a new one."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from edge_service.spool_records import first_waiting, mend
from shared.codec.record import StreamHeader
from shared.errors import RecordError

_log = logging.getLogger(__name__)

# A header holds for the records from its first sequence on, up to the next header's. A camera's detection is the newest
# frame in which the cloud found something.
SCHEMA = """
PRAGMA auto_vacuum = INCREMENTAL;
CREATE TABLE IF NOT EXISTS camera (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL, next_sequence INTEGER NOT NULL,
    last_persisted INTEGER NOT NULL, bytes INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS header (
    camera INTEGER NOT NULL, first_sequence INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (camera, first_sequence)
);
CREATE TABLE IF NOT EXISTS record (
    camera INTEGER NOT NULL, sequence INTEGER NOT NULL, spooled_us INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (camera, sequence)
);
CREATE TABLE IF NOT EXISTS stand_in (
    camera INTEGER NOT NULL, sequence INTEGER NOT NULL, content BLOB NOT NULL, PRIMARY KEY (camera, sequence)
);
CREATE TABLE IF NOT EXISTS detection (camera INTEGER PRIMARY KEY, spooled_us INTEGER NOT NULL);
"""

SKIPPED_SEQUENCES = 1 << 16
"""Sequences left out after a repair. The file may have forgotten the last that it gave away, and a sequence that was
once used must never name another frame."""

_JOURNALS = ("-wal", "-shm")


def repair(path: Path) -> dict[str, int]:
    """Looks at a spool file that nobody uses; if it is damaged, puts a sound one in its place.

    The damaged file stays beside it as ``<name>.damaged``, in the place of an earlier one.

    Returns:
        By camera, how many records were lost at most; empty if the file is sound or not there, or if an earlier start,
        which was cut short, has logged them.

    Raises:
        sqlite3.Error, OSError: the folder cannot be read or written.
    """
    repaired = path.with_name(f"{path.name}.repaired")
    lost: dict[str, int] = {}
    if repaired.exists():
        _log.error("the spool file %s was damaged; an earlier start saved of it what could be read", path)
    elif not path.exists() or _sound(path):
        return lost
    else:
        lost = _rescued_to(repaired, path)
    # In this order, so that wherever it is cut short the next start goes on with it, and that no journal is taken for
    # the new file's.
    aside = path.with_name(f"{path.name}.damaged")
    for suffix in (*_JOURNALS, ""):
        with suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    os.replace(repaired, path)
    return lost


def _rescued_to(repaired: Path, path: Path) -> dict[str, int]:
    """Makes a sound file of what can be read of a damaged one; it has its name only once it is whole."""
    rescued = path.with_name(f"{path.name}.rescued")
    rescued.unlink(missing_ok=True)
    _lengthen(path)
    with closing(sqlite3.connect(path)) as damaged, closing(sqlite3.connect(rescued)) as sound:
        sound.executescript(SCHEMA)
        lost = _rescue(damaged, sound)
        (kept,) = sound.execute("SELECT count(*) FROM record").fetchone()
        sound.commit()
    _log.error(
        "the spool file %s was damaged: %d records were saved, %s lost; what it was lies in %s.damaged",
        path,
        kept,
        ", ".join(f"{count} of {camera}" for camera, count in lost.items()) or "an unknown number",
        path,
    )
    os.replace(rescued, repaired)
    return lost


def _sound(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",) and not _bad_headers(connection)
    except sqlite3.DatabaseError as error:
        # Its subclasses speak of other things than the file's content, such as permissions.
        if type(error) is sqlite3.DatabaseError:
            return False
        raise


def _lengthen(path: Path) -> None:
    """SQLite reads nothing of a file that is shorter than its header says; the missing pages become empty ones."""
    with path.open("r+b") as file:
        header = file.read(100)
        page_size, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
        size = file.seek(0, os.SEEK_END)
        # No larger than doubled: the header may be what is damaged.
        if header.startswith(b"SQLite format 3\0") and size < page_size * pages <= max(2 * size, 1 << 20):
            file.truncate(page_size * pages)


def _rescue(damaged: sqlite3.Connection, sound: sqlite3.Connection) -> dict[str, int]:
    """Copies what can be read. Without its camera a record means nothing, and without its header neither."""
    for row in _readable(damaged, "camera"):
        sound.execute("INSERT OR IGNORE INTO camera VALUES (?, ?, ?, ?, ?, ?)", row)
    for row in _readable(damaged, "header"):
        sound.execute("INSERT OR IGNORE INTO header VALUES (?, ?, ?)", row)
    for row in _readable(damaged, "record"):
        sound.execute("INSERT OR IGNORE INTO record VALUES (?, ?, ?, ?)", row)
    for row in _readable(damaged, "stand_in"):
        sound.execute("INSERT OR IGNORE INTO stand_in VALUES (?, ?, ?)", row)
    for row in _readable(damaged, "detection"):
        sound.execute("INSERT OR IGNORE INTO detection VALUES (?, ?)", row)
    for camera, first_sequence in _bad_headers(sound):
        # What stands under it must not be taken for the header's before.
        sound.execute(
            "DELETE FROM record WHERE camera = :camera AND sequence >= :first AND sequence < coalesce((SELECT"
            " min(first_sequence) FROM header WHERE camera = :camera AND first_sequence > :first), 1 << 62)",
            {"camera": camera, "first": first_sequence},
        )
        sound.execute("DELETE FROM header WHERE camera = ? AND first_sequence = ?", (camera, first_sequence))
    sound.execute(
        "DELETE FROM record WHERE camera NOT IN (SELECT id FROM camera) OR NOT EXISTS (SELECT 1 FROM header"
        " WHERE header.camera = record.camera AND first_sequence <= sequence)"
    )
    sound.execute(
        "DELETE FROM stand_in WHERE NOT EXISTS (SELECT 1 FROM record WHERE record.camera = stand_in.camera"
        " AND record.sequence = stand_in.sequence)"
    )
    for camera, last_persisted in sound.execute("SELECT id, last_persisted FROM camera").fetchall():
        _mend(sound, camera, last_persisted)
    # Every sequence after the last that the cloud has is missed, though some of them may have been rejected.
    lost: dict[str, int] = dict(
        sound.execute(
            "SELECT name, max(0, next_sequence - 1 - last_persisted - (SELECT count(*) FROM record WHERE camera = id"
            " AND sequence > last_persisted)) FROM camera"
        ).fetchall()
    )
    sound.execute(
        "UPDATE camera SET next_sequence = max(next_sequence, (SELECT coalesce(max(sequence) + 1, 1) FROM record"
        " WHERE camera = id)) + ?, bytes = (SELECT coalesce(sum(length(content)), 0)"
        " FROM record WHERE camera = id) + (SELECT coalesce(sum(length(content)), 0) FROM stand_in WHERE camera = id)",
        (SKIPPED_SEQUENCES,),
    )
    return lost


def _mend(connection: sqlite3.Connection, camera: int, last: int) -> None:
    """Makes every record that follows a gap stand alone. Args: last, the highest sequence that the cloud has."""
    while (following := first_waiting(connection, camera, last)) is not None:
        last = following if following == last + 1 else mend(connection, camera, following - 1).last + 1


def _bad_headers(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """Camera and first sequence of the stream headers that are none, or name another camera or epoch."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'header'").fetchone() is None:
        return []
    rows = connection.execute(
        "SELECT camera, first_sequence, content, name, epoch FROM header JOIN camera ON camera.id = header.camera"
    )
    return [(camera, first) for camera, first, *row in rows if not _is_header(*row)]


def _is_header(content: bytes, camera: str, epoch: int) -> bool:
    try:
        header = StreamHeader.parse(content)[0]
    except RecordError:
        return False
    return (header.camera, header.epoch) == (camera, epoch)


def _readable(connection: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """A table's rows from its start to the first damage, and from its end back to the last."""
    for direction in ("ASC", "DESC"):
        with suppress(sqlite3.DatabaseError):
            yield from connection.execute(f"SELECT * FROM {table} NOT INDEXED ORDER BY rowid {direction}")
