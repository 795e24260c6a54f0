"""Retention finds a camera's oldest segments, knows what records take, and notes what it is about to unlink."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Adds the index and the tables, and what records take."""
    op.create_index("ix_record_segments_camera_age", "record_segments", ["camera", "kept_from_us", "number"])
    op.execute(
        "INSERT INTO usage (camera, tier, files, bytes, disk_bytes)"
        " SELECT camera, 'records', count(*), sum(size), sum(disk_bytes) FROM record_segments"
        " WHERE state IN ('whole', 'damaged') GROUP BY camera"
    )
    op.create_table(
        "garbage",
        sa.Column("root", sa.String, primary_key=True),
        sa.Column("path", sa.String, primary_key=True),
        sa.Column("disk_bytes", sa.BigInteger, nullable=False),
    )
    numbers = ("epoch", "first_sequence", "kept_from_us", "first_capture_us", "last_capture_us")
    op.create_table(
        "stills",
        sa.Column("camera", sa.String, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in numbers),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("disk_bytes", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_stills_age", "stills", ["camera", "kept_from_us", "number"])
