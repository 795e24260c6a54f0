"""Retention remembers up to when it deleted what detectors found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Adds the table."""
    op.create_table(
        "forgotten",
        sa.Column("camera", sa.String, primary_key=True),
        sa.Column("last_us", sa.BigInteger, nullable=False),
    )
