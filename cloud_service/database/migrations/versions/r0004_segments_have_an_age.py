"""Rows of segments say what their age counts from, what they take on the disk, and their file's digest; tombstones say
what was deleted.

Rows that are there already count from their last capture and have no digest: to read every file would take a start
too long.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds the columns, the index that the oldest are found by, and the table of tombstones."""
    with op.batch_alter_table("record_segments") as table:
        table.add_column(sa.Column("kept_from_us", sa.BigInteger, nullable=False, server_default="0"))
        table.add_column(sa.Column("disk_bytes", sa.BigInteger, nullable=False, server_default="0"))
        table.add_column(sa.Column("sha256", sa.LargeBinary, nullable=False, server_default=""))
    op.execute("UPDATE record_segments SET kept_from_us = last_capture_us, disk_bytes = (size + 4095) / 4096 * 4096")
    op.create_index("ix_record_segments_age", "record_segments", ["kept_from_us", "camera", "number"])
    op.create_table(
        "tombstones",
        sa.Column("camera", sa.String, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("first_capture_us", sa.BigInteger, nullable=False),
        sa.Column("last_capture_us", sa.BigInteger, nullable=False),
        sa.Column("records", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sequences", sa.String, nullable=False),
        sa.Column("sha256", sa.LargeBinary, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("deleted_by", sa.String, nullable=False),
        sa.Column("deleted_us", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_tombstones_capture", "tombstones", ["camera", "last_capture_us"])
