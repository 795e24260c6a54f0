"""A database server that is not up yet: services of one machine or one compose file are started all at once."""

from __future__ import annotations

import logging
import time

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.database.damage import trouble

log = logging.getLogger(__name__)

SERVER_WAIT_SECONDS = 60.0
"""How long a start waits. Longer is for whoever restarts services that end with an error."""
_RETRY_SECONDS = 0.5
_FOR_GOOD = (
    "does not exist",
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "permission denied",
)
"""Answers of PostgreSQL that no waiting changes, as it says them in English; in another language they are waited for.
Its numbered codes do not come with connections that it refuses."""


def wait_for_server(engine: Engine, seconds: float) -> None:
    """Returns when the database answers.

    Args:
        seconds: how long to try, about.

    Raises:
        SQLAlchemyError: it has not answered in that time, or refuses for a reason that waiting does not change.
    """
    until = time.monotonic() + seconds
    waiting = False
    while True:
        try:
            engine.connect().close()
        except SQLAlchemyError as error:
            reason = trouble(error)
            if time.monotonic() >= until or any(answer in reason for answer in _FOR_GOOD):
                raise
            if not waiting:
                waiting = True
                log.warning(
                    "database %s cannot be reached yet, trying for %g s: %s",
                    engine.url.render_as_string(),
                    seconds,
                    " ".join(reason.split()),
                )
            time.sleep(_RETRY_SECONDS)
        else:
            if waiting:
                log.info("database %s answers", engine.url.render_as_string())
            return
