"""Videos say where their fragments lie and what they take on the disk, and usage is kept by camera and tier.

Segments of records are found by their capture times.

Files of before have no fragments of their own to be played from, and count with their size.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Adds the columns and the table, filled from the rows that there are."""
    for name in ("disk_bytes", "thumbnail_disk_bytes"):
        op.add_column("video_segments", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    for name in ("init", "fragments"):
        op.add_column("video_segments", sa.Column(name, sa.String, nullable=False, server_default=""))
    op.execute("UPDATE video_segments SET disk_bytes = bytes, thumbnail_disk_bytes = thumbnail_bytes")
    for name, path in (("video", "path"), ("thumbnail", "thumbnail_path")):
        present = sa.text(f"{path} <> ''")
        op.create_index(
            f"ix_video_segments_{name}",
            "video_segments",
            ["camera", "start_us"],
            sqlite_where=present,
            postgresql_where=present,
        )
    op.create_table(
        "usage",
        sa.Column("camera", sa.String, primary_key=True),
        sa.Column("tier", sa.String, primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("files", "bytes", "disk_bytes")),
    )
    for tier, size in (("video", "bytes"), ("thumbnails", "thumbnail_bytes")):
        op.execute(
            "INSERT INTO usage (camera, tier, files, bytes, disk_bytes)"
            f" SELECT camera, '{tier}', count(*), sum({size}), sum({size}) FROM video_segments GROUP BY camera"
        )
    op.create_index("ix_record_segments_capture", "record_segments", ["camera", "first_capture_us"])
