"""A damaged SQLite file: found at the start, set aside, and nothing lost by it.

All that the database says was made from records, and is made from them again. So a damaged one is renamed, and a new
one begun. A start reads only the tables that it needs: to look through months of detections would take too long. Damage
that shows later leaves a file beside the database, which has the next start look at all of it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger(__name__)
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_FILES = ("", "-wal", "-shm")
_READ_AT_START = ("alembic_version", "store", "record_segments", "progress", "chains")


def is_damage(error: BaseException | None) -> bool:
    """Whether SQLite says with this that its file holds something else than it wrote."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGE


def trouble(error: SQLAlchemyError) -> str:
    """What the database says, for a person; SQLAlchemy adds its statement, which says nothing to one."""
    cause = getattr(error, "orig", None)
    if is_damage(cause):
        return f"{cause}: it is damaged; restart icm-cloud, which sets it aside and makes a new one from the records"
    return str(cause or error)


def watch_for_damage(engine: Engine, path: Path) -> None:
    """Has the next start look at the whole file if damage shows."""

    def note(context: ExceptionContext) -> None:
        if is_damage(context.original_exception):
            # A disk that takes no file more has the start after the next look.
            with suppress(OSError):
                _suspicion(path).touch()

    event.listen(engine, "handle_error", note)


def set_aside_if_damaged(path: Path) -> None:
    """Renames a damaged database that nobody uses to ``<name>.damaged``, in the place of an earlier one.

    Raises:
        OSError: it cannot be renamed.
    """
    suspicion = _suspicion(path)
    damage = _damage(path, whole=suspicion.exists())
    if damage is not None:
        aside = path.with_name(f"{path.name}.damaged")
        # The database itself last: cut short before, the next start does it all again.
        for suffix in reversed(_FILES):
            with suppress(FileNotFoundError):
                os.replace(f"{path}{suffix}", f"{aside}{suffix}")
        log.error(
            "the database %s is damaged (%s): it lies in %s now; a new one is made from the records, all of which are"
            " looked at and rendered again",
            path,
            damage,
            aside,
        )
    suspicion.unlink(missing_ok=True)


def _damage(path: Path, whole: bool) -> str | None:
    """What is wrong with the file, if anything is. Other trouble than damage shows when it is opened."""
    if not path.is_file() or not path.stat().st_size:
        return None
    try:
        with closing(sqlite3.connect(path)) as connection:
            known = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            checks = [""] if whole else [f"('{name}')" for name in _READ_AT_START if name in known]
            found = [connection.execute(f"PRAGMA quick_check{check}").fetchone()[0] for check in checks]
            return next((text for text in found if text != "ok"), None)
    except sqlite3.Error as error:
        return str(error) if is_damage(error) else None
    except UnicodeDecodeError:
        return "a name in its schema is no text"


def _suspicion(path: Path) -> Path:
    return path.with_name(f"{path.name}.suspect")
