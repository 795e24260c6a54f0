"""Frames without detections are kept as ranges. Those that have a row in ``frames`` already keep it, and are read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Creates the table of ranges."""
    op.create_table(
        "empty_frames",
        sa.Column("camera", sa.String, primary_key=True),
        sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("block", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("sequences", sa.String, nullable=False),
        sa.Column("captures", sa.LargeBinary, nullable=False),
        sa.Column("first_capture_us", sa.BigInteger, nullable=False),
        sa.Column("last_capture_us", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_empty_frames_capture", "empty_frames", ["camera", "last_capture_us"])
