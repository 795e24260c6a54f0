"""Brings a database up to date at the start."""

from __future__ import annotations

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from icm.errors import StorageError

log = logging.getLogger(__name__)
# It tells of each start that it found a database.
logging.getLogger("alembic").setLevel(logging.WARNING)
_FOLDER = Path(__file__).parent


def upgrade(engine: Engine) -> None:
    """Applies the steps that a database lacks, all of them or none.

    One from before there were steps has the tables of the first, which is then all that it does not do again.

    Raises:
        SQLAlchemyError: the database cannot be reached, or refused.
        StorageError: a newer release has used it.
    """
    config = _config()
    steps = ScriptDirectory.from_config(config)
    newest = steps.get_current_head()
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            # The driver begins no transaction by itself before it changes a schema.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if _applied(connection) != (newest,) else "BEGIN")
        applied = _applied(connection)
        known = {step.revision for step in steps.walk_revisions()}
        if unknown := set(applied) - known:
            raise StorageError(
                f"database {engine.url.render_as_string()} was used by a newer icm-cloud: its schema is"
                f" {', '.join(sorted(unknown))}, this release knows up to {newest}. Run that release, or name another"
                " database (a new one is made from the records)"
            )
        if applied != (newest,):
            log.info("bringing the database from schema %s to %s", ", ".join(applied) or "none", newest)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def check_current(engine: Engine) -> None:
    """Checks that a database has the tables of this release.

    Raises:
        SQLAlchemyError: the database cannot be reached.
        StorageError: it has others.
    """
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    with engine.connect() as connection:
        applied = _applied(connection)
    if applied != (newest,):
        raise StorageError(
            f"database {engine.url.render_as_string()} is of another release: its schema is"
            f" {', '.join(applied) or 'none'}, this release's is {newest}. A start of icm-cloud brings it up to date"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


def _applied(connection: Connection) -> tuple[str, ...]:
    return tuple(MigrationContext.configure(connection).get_current_heads())
