"""How to open the database: SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from cloud_service.database.damage import set_aside_if_damaged, trouble, watch_for_damage
from cloud_service.database.migrations.upgrade import check_current, upgrade
from cloud_service.database.waiting import wait_for_server
from icm.errors import ConfigError, StorageError
from icm.service.owner_lock import OwnerLock

_BACKENDS = ("sqlite", "postgresql")
_FORMS = "sqlite:////path/to/file.db or postgresql+psycopg://user@host/name"


def database_engine(url: str) -> Engine:
    """The database at a URL; does not connect yet.

    Raises:
        ConfigError: the URL is none, or its driver is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        # It may hold a password, and nobody can tell where.
        raise ConfigError(f"the setting database is no URL: write it as {_FORMS}") from None
    try:
        if parsed.get_backend_name() not in _BACKENDS:
            raise NoSuchModuleError(f"{parsed.get_backend_name()} is neither SQLite nor PostgreSQL")
        engine = create_engine(parsed)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"cannot use database {parsed.render_as_string()}: its driver {error.name} is not installed: pip install"
            " 'icm-bridge[postgres]' brings psycopg, for URLs that begin with postgresql+psycopg://"
        ) from None
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(f"cannot use database {parsed.render_as_string()}: {error}; write it as {_FORMS}") from None
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def own_database(url: str) -> OwnerLock | None:
    """Takes an SQLite file for this process; a database server sees to its own.

    Raises:
        ConfigError: the URL is none, or its driver is not installed.
        StorageError: another process uses it, or its folder cannot be used.
    """
    if (path := sqlite_path(database_engine(url))) is None:
        return None
    return OwnerLock(path.with_name(f"{path.name}.lock"), f"the database {path}", "icm-cloud", StorageError)


def open_database(url: str, wait_seconds: float = 0.0) -> Engine:
    """Opens the database, which no other process uses, and brings its tables up to date. A damaged SQLite file is set
    aside for a new one.

    Args:
        wait_seconds: how long to wait for a database server that does not answer.

    Raises:
        ConfigError: the URL is none, or its driver is not installed.
        StorageError: the database cannot be reached, or a newer icm-cloud has used it.
    """
    engine = database_engine(url)
    try:
        if (path := sqlite_path(engine)) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            set_aside_if_damaged(path)
            watch_for_damage(engine, path)
        wait_for_server(engine, wait_seconds)
        upgrade(engine)
    except StorageError:
        engine.dispose()
        raise
    except (SQLAlchemyError, OSError) as error:
        engine.dispose()
        reason = trouble(error) if isinstance(error, SQLAlchemyError) else error.strerror
        raise StorageError(f"cannot open database {engine.url.render_as_string()}: {reason}") from None
    return engine


def attach_database(url: str) -> Engine:
    """Opens a database that an icm-cloud may be using, and changes nothing about its tables.

    Raises:
        ConfigError: the URL is none, or its driver is not installed.
        StorageError: there is no such database, it cannot be reached, or it is of another release.
    """
    engine = database_engine(url)
    try:
        if (path := sqlite_path(engine)) is not None and not path.exists():
            raise StorageError(f"there is no database {path}: name the settings of the cloud that has one (--config)")
        check_current(engine)
    except StorageError:
        engine.dispose()
        raise
    except SQLAlchemyError as error:
        engine.dispose()
        raise StorageError(f"cannot open database {engine.url.render_as_string()}: {trouble(error)}") from None
    return engine


def sqlite_path(engine: Engine) -> Path | None:
    """Where the database is a file of this machine: that."""
    name = engine.url.database if engine.url.get_backend_name() == "sqlite" else None
    return Path(name) if name and name != ":memory:" else None


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
