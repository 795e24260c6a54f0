"""Whom a record store belongs to: one process, and one database.

Cursors and index of another store's database say wrong things: records would be taken for known, or for looked at, that
nobody has seen.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from cloud_service.database.damage import trouble
from cloud_service.database.tables import StoreRow
from icm.atomic_file import write_atomically
from icm.errors import StorageError, storage_error
from icm.service.owner_lock import OwnerLock

FILE_NAME = "store.id"
LOCK_NAME = "store.lock"
_ROW = 1


def own_store(records: Path) -> OwnerLock:
    """Takes a record store for this process.

    Raises:
        StorageError: another process uses it, or the folder cannot be used.
    """
    return OwnerLock(records / LOCK_NAME, f"the record store {records}", "icm-cloud", StorageError)


def check_identity(records: Path, database: Engine) -> str:
    """Finds out whether the database is about the records in a folder, which this process owns. What is new to one
    another, or from before stores had names, is so from now on.

    Returns:
        The record store's name.

    Raises:
        StorageError: it is about others, or cannot be asked.
    """
    path = records / FILE_NAME
    try:
        name = path.read_text("ascii").strip() if path.exists() else ""
        known = _claim(database, name)
        if not name and not known:
            name = secrets.token_hex(8)
            # The file first: cut short in between, the next start gives its name to the database.
            write_atomically(path, f"{name}\n")
            known = _claim(database, name)
    except OSError as error:
        raise storage_error(error, path) from None
    except UnicodeDecodeError:
        raise StorageError(f"{path} is damaged: it should hold the record store's name") from None
    except SQLAlchemyError as error:
        raise StorageError(f"cannot use database {database.url.render_as_string()}: {trouble(error)}") from None
    if known != name:
        raise StorageError(
            f"database {database.url.render_as_string()} belongs to record store {known}, but {records} is"
            f" {'record store ' + name if name else 'another, or empty'}: mount the disk that belongs to it, or name"
            " another database (a new one is made from the records)"
        )
    return name


def _claim(database: Engine, name: str) -> str:
    """The store that the database belongs to; to this one, if to none before and the name is not empty."""
    with Session(database) as session:
        row = session.get(StoreRow, _ROW)
        if row is None and name:
            session.add(StoreRow(id=_ROW, name=name))
            try:
                session.commit()
            except IntegrityError:
                # Somebody else was quicker.
                session.rollback()
            row = session.get(StoreRow, _ROW)
        return row.name if row is not None else ""
