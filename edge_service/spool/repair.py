"""What a start makes of a spool file that is damaged, or holds records of another version of the record format: it is
set aside, and what can be read of it and sent goes into a new one.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from edge_service.losses import DropReason
from edge_service.spool.records import first_waiting, restart_at_intra
from edge_service.spool.schema.upgrade import COLUMNS, upgrade
from icm.codec.bitstream.record import StreamHeader
from icm.errors import RecordError, RecordVersionError

_log = logging.getLogger(__name__)

SKIPPED_SEQUENCES = 1 << 16
"""Sequences left out after a repair. The file may have forgotten the last that it gave away, and a sequence that was
once used must never name another frame."""

_JOURNALS = ("-wal", "-shm")
_UNDER_HEADER = (
    "camera = :camera AND sequence >= :first AND sequence < coalesce((SELECT min(first_sequence) FROM header"
    " WHERE camera = :camera AND first_sequence > :first), 1 << 62)"
)
"""The records that a header holds for."""


Lost = dict[tuple[str, DropReason], int]
"""By camera and reason, how many records at most."""


def repair(path: Path) -> Lost:
    """Looks at a spool file that nobody uses; if not all of it can be used, puts one that can be in its place.

    A damaged file stays beside it as ``<name>.damaged``, in the place of an earlier one; one that holds records of
    another version of the record format as ``<name>.format``, with a number behind where there is one already.

    Returns:
        What was lost; empty if the file is sound or not there, or if an earlier start, which was cut short, has logged
        it.

    Raises:
        sqlite3.Error: the folder cannot be read or written.
        OSError: the folder cannot be read or written.
    """
    repaired = path.with_name(f"{path.name}.repaired")
    lost: Lost = {}
    if repaired.exists():
        _log.error("the spool file %s was damaged; an earlier start saved of it what could be read", path)
    elif not path.exists() or _sound(path):
        return lost
    aside = _aside(path)
    if not repaired.exists():
        lost = _rescued_to(repaired, path, aside)
    # In this order, so that wherever it is cut short the next start goes on with it, and that no journal is taken for
    # the new file's.
    if path.exists():
        for suffix in (*_JOURNALS, ""):
            with suppress(FileNotFoundError):
                os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    os.replace(repaired, path)
    return lost


def _aside(path: Path) -> Path:
    """What a file that cannot be used is called from here on."""
    if not _of_other_versions(path):
        return path.with_name(f"{path.name}.damaged")
    # Its records are whole, so none may be lost to the next such file.
    aside, count = path.with_name(f"{path.name}.format"), 1
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.name}.format-{count}")
    return aside


def _rescued_to(repaired: Path, path: Path, aside: Path) -> Lost:
    """Makes a sound file of what can be read of a damaged one; it has its name only once it is whole."""
    foreign = _of_other_versions(path)
    rescued = path.with_name(f"{path.name}.rescued")
    rescued.unlink(missing_ok=True)
    _lengthen(path)
    with closing(sqlite3.connect(path)) as damaged, closing(sqlite3.connect(rescued)) as sound:
        upgrade(sound)
        lost = _rescue(damaged, sound)
        (kept,) = sound.execute("SELECT count(*) FROM record").fetchone()
        sound.commit()
    for camera, count in foreign.items():
        # A camera whose own row cannot be read has lost nothing that could be counted.
        lost[camera] = max(0, lost.get(camera, 0) - count)
        _log.error(
            "camera %s: %d records that wait in the spool file %s are of a version of the record format that this"
            " icm-edge does not send; they lie in %s, and the icm-edge that made them delivers them from a"
            " spool.folder where that file is called %s",
            camera,
            count,
            path,
            aside,
            path.name,
        )
    if not foreign or any(lost.values()):
        _log.error(
            "the spool file %s was damaged: %d records were saved, %s lost; what it was lies in %s",
            path,
            kept,
            ", ".join(f"{count} of {camera}" for camera, count in lost.items()) or "an unknown number",
            aside,
        )
    os.replace(rescued, repaired)
    counts = {(camera, DropReason.SPOOL_DAMAGED): count for camera, count in lost.items() if count}
    return counts | {(camera, DropReason.SPOOL_FORMAT): count for camera, count in foreign.items()}


def _sound(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path)) as connection, connection:
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",) or _mistyped(connection):
                return False
            headers = [{"camera": camera, "first": first} for camera, first in _bad_headers(connection)]
            if any(
                connection.execute(f"SELECT 1 FROM record WHERE {_UNDER_HEADER}", bad).fetchone() for bad in headers
            ):
                return False
            # The last header stays when all is delivered, and an earlier version's is nothing to worry about then.
            connection.executemany("DELETE FROM header WHERE camera = :camera AND first_sequence = :first", headers)
            return True
    except sqlite3.DatabaseError as error:
        # Its subclasses speak of other things than the file's content, such as permissions, but for this one.
        if "not decode to UTF-8" in str(error):
            return False
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
    for table, columns in COLUMNS.items():
        places = ", ".join("?" * len(columns))
        for row in _readable(damaged, table):
            sound.execute(f"INSERT OR IGNORE INTO {table} VALUES ({places})", row)
    for camera, first_sequence in _bad_headers(sound):
        # What stands under it must not be taken for the header's before.
        sound.execute(f"DELETE FROM record WHERE {_UNDER_HEADER}", {"camera": camera, "first": first_sequence})
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
        _restart_at_intra(sound, camera, last_persisted)
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


def _restart_at_intra(connection: sqlite3.Connection, camera: int, last: int) -> None:
    """Makes every record that follows a gap an I record.

    Args:
        last: the highest sequence that the cloud has.
    """
    while (following := first_waiting(connection, camera, last)) is not None:
        last = following if following == last + 1 else restart_at_intra(connection, camera, following - 1).last + 1


def _bad_headers(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """Camera and first sequence of the stream headers that are none, or name another camera or a later epoch."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'header'").fetchone() is None:
        return []
    rows = connection.execute(
        "SELECT camera, first_sequence, content, name, epoch FROM header JOIN camera ON camera.id = header.camera"
    )
    return [(camera, first) for camera, first, *row in rows if not _is_header(*row)]


def _of_other_versions(path: Path) -> dict[str, int]:
    """By camera, how many records wait that are of another version of the record format than this program's."""
    found: dict[str, int] = {}
    if not path.exists():
        # SQLite would make an empty file, which would then be set aside over the one that was.
        return found
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
        for camera, first, content, name in connection.execute(
            "SELECT camera, first_sequence, content, name FROM header JOIN camera ON camera.id = header.camera"
        ).fetchall():
            try:
                StreamHeader.parse(content)
            except RecordVersionError:
                (count,) = connection.execute(
                    f"SELECT count(*) FROM record WHERE {_UNDER_HEADER}", {"camera": camera, "first": first}
                ).fetchone()
                found[name] = found.get(name, 0) + count
            except RecordError:
                continue
    return {camera: count for camera, count in found.items() if count}


def _is_header(content: bytes, camera: str, epoch: int) -> bool:
    try:
        header = StreamHeader.parse(content)[0]
    except RecordError:
        return False
    return header.camera == camera and header.epoch <= epoch


def _readable(connection: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """A table's rows from its start to the first damage, and from its end back to the last; none whose values are not
    of their kind.
    """
    columns, unfit = ", ".join(COLUMNS[table]), _other_kinds(table)
    for direction in ("ASC", "DESC"):
        with suppress(sqlite3.DatabaseError):
            yield from connection.execute(
                f"SELECT {columns} FROM {table} NOT INDEXED WHERE NOT ({unfit}) ORDER BY rowid {direction}"
            )


def _mistyped(connection: sqlite3.Connection) -> bool:
    """Whether a value is of another kind than its column, which SQLite itself takes for nothing wrong."""
    known = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    return any(
        connection.execute(f"SELECT 1 FROM {table} WHERE {_other_kinds(table)} LIMIT 1").fetchone()
        for table in known & COLUMNS.keys()
    )


def _other_kinds(table: str) -> str:
    return " OR ".join(f"typeof({column}) != '{kind}'" for column, kind in COLUMNS[table].items())
