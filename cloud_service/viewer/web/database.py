"""The cloud's database as the viewer sees it: another process owns it, and may put a new one in its place."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError

from cloud_service.database.opening import attach_database, sqlite_path
from icm.errors import StorageError

log = logging.getLogger(__name__)
_RETRY_SECONDS = 0.5


def attach_when_there(url: str, wait_seconds: float) -> Engine:
    """Opens the database of a cloud, which may be starting at the same time.

    Args:
        url: SQLAlchemy's.
        wait_seconds: how long to wait for it.

    Raises:
        ConfigError: the URL is none, or its driver is not installed.
        StorageError: there is no such database after that time, or it is of another release.
    """
    until, waiting = time.monotonic() + wait_seconds, False
    while True:
        try:
            engine = attach_database(url)
        except StorageError as error:
            if time.monotonic() >= until:
                raise
            if not waiting:
                waiting = True
                log.warning("waiting for the cloud's database, for %g s: %s", wait_seconds, error)
            time.sleep(_RETRY_SECONDS)
        else:
            if (path := sqlite_path(engine)) is not None:
                _follow_replacement(engine, path)
            return engine


def _follow_replacement(engine: Engine, path: Path) -> None:
    """Has connections made anew once the file is another: a cloud sets a damaged one aside."""

    def connected(_connection: Any, record: Any) -> None:
        record.info["file"] = _name_of(path)

    def taken(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info.get("file") != _name_of(path):
            raise DisconnectionError("the database file was replaced")

    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", taken)


def _name_of(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
