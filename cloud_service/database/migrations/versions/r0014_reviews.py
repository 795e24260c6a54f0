"""Which sightings a user of the viewer has seen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Creates the tables."""
    op.create_table(
        "viewer_seen",
        sa.Column("user_name", sa.String, primary_key=True),
        sa.Column("sighting", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("start_us", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "viewer_reviews",
        sa.Column("user_name", sa.String, primary_key=True),
        sa.Column("seen_before_us", sa.BigInteger, nullable=False),
    )
