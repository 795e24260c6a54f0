"""What Alembic runs to apply steps: on the connection that ``upgrade`` hands it, within its transaction."""

from __future__ import annotations

from alembic import context

from cloud_service.database import (  # noqa: F401 - their tables
    proof_tables,
    redetection_tables,
    retention_tables,
    sightings_tables,
    viewer_tables,
)
from cloud_service.database.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, transactional_ddl=True
)
context.run_migrations()
