"""Browsers in which somebody is logged in to the viewer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "viewer_sessions",
        sa.Column("id", sa.LargeBinary, primary_key=True),
        sa.Column("user_name", sa.String, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("used_us", sa.BigInteger, nullable=False),
        sa.Column("address", sa.String, nullable=False),
        sa.Column("browser", sa.String, nullable=False),
    )
    op.create_index("ix_viewer_sessions_user", "viewer_sessions", ["user_name", "created_us"])
    op.create_index("ix_viewer_sessions_age", "viewer_sessions", ["created_us"])
