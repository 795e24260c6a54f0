"""What Alembic runs to apply steps: on the connection that ``upgrade`` hands it, within its transaction."""

from __future__ import annotations

from alembic import context

from cloud_service.database import proof_tables, sightings_tables  # noqa: F401 - their tables
from cloud_service.database.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, transactional_ddl=True
)
context.run_migrations()
