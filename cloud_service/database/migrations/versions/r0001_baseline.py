"""The tables as they were before there were steps.

A database of that time has them already and keeps them; one whose index of segments is still older loses that, and the
start reads the files instead.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_SEGMENTS = (
    "camera",
    "number",
    "epoch",
    "path",
    "size",
    "records",
    "first_capture_us",
    "last_capture_us",
    "sequences",
    "checksum",
)


def upgrade() -> None:
    """Creates what is not there."""
    inspector = sa.inspect(op.get_bind())
    if inspector.has_table("record_segments"):
        found = {column["name"] for column in inspector.get_columns("record_segments")}
        if found != set(_SEGMENTS):
            op.drop_table("record_segments")
    op.create_table(
        "store",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        if_not_exists=True,
    )
    texts = {"camera", "path", "sequences"}
    op.create_table(
        "record_segments",
        *(
            sa.Column(
                name,
                sa.String() if name in texts else sa.BigInteger(),
                primary_key=name in ("camera", "number"),
                autoincrement=False,
                nullable=False,
            )
            for name in _SEGMENTS
        ),
        if_not_exists=True,
    )
    op.create_table(
        "frames",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("camera", sa.String, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("capture_us", sa.BigInteger, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.UniqueConstraint("camera", "epoch", "sequence", "model"),
        if_not_exists=True,
    )
    op.create_index("ix_frames_camera_capture", "frames", ["camera", "capture_us"], if_not_exists=True)
    op.create_table(
        "detections",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("frame_id", _ROW_ID, sa.ForeignKey("frames.id", ondelete="CASCADE"), nullable=False),
        sa.Column("class_name", sa.String, nullable=False),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("score", "left", "top", "right", "bottom")),
        if_not_exists=True,
    )
    op.create_index("ix_detections_class", "detections", ["class_name", "frame_id"], if_not_exists=True)
    op.create_index("ix_detections_frame", "detections", ["frame_id"], if_not_exists=True)
    op.create_table(
        "skipped_frames",
        sa.Column("camera", sa.String, primary_key=True),
        sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("why", sa.String, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "video_segments",
        sa.Column("camera", sa.String, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("start_us", sa.BigInteger, nullable=False),
        sa.Column("duration_us", sa.BigInteger, nullable=False),
        sa.Column("frames", sa.BigInteger, nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("thumbnail_path", sa.String, nullable=False),
        sa.Column("thumbnail_bytes", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_video_segments_start", "video_segments", ["camera", "start_us"], if_not_exists=True)
    op.create_table(
        "progress",
        sa.Column("camera", sa.String, primary_key=True),
        sa.Column("detect_segment", sa.BigInteger, nullable=False),
        sa.Column("detect_offset", sa.BigInteger, nullable=False),
        sa.Column("archive_segment", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
