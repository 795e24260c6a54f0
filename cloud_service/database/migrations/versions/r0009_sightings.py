"""Events of segments that are done with are packed, and what is searched has tables of its own.

What ``frames`` and ``detections`` hold already is read on, and packed in the background by the service. Both become
small by that, so their index by class goes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Creates the tables, all empty."""
    op.drop_index("ix_detections_class", "detections")
    op.create_table(
        "boxes",
        sa.Column("id", _ROW_ID, primary_key=True),
        *_columns(text=("camera",), whole=("number",)),
        *_columns(text=("model",), whole=("epoch", "first_us", "last_us", "width", "height", "frames", "boxes")),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("camera", "number", "model"),
    )
    op.create_index("ix_boxes_first", "boxes", ["camera", "first_us"])
    op.create_index("ix_boxes_camera_last", "boxes", ["camera", "last_us"])
    op.create_index("ix_boxes_last", "boxes", ["last_us"])
    op.create_table(
        "box_blocks",
        *_columns(text=("camera",), whole=("epoch", "block", "number"), key=True),
        *_columns(text=("model",), key=True),
        *_columns(text=("sequences",)),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "segment_classes",
        *_columns(text=("camera",), whole=("number",), key=True),
        *_columns(text=("model", "class_name"), key=True),
        *_columns(whole=("last_us",)),
        sa.Column("best_score", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_segment_classes_last", "segment_classes", ["class_name", "last_us"])
    op.create_index("ix_segment_classes_camera_last", "segment_classes", ["camera", "class_name", "last_us"])
    op.create_table(
        "sightings",
        sa.Column("id", _ROW_ID, primary_key=True),
        *_columns(text=("camera", "class_name", "model")),
        *_columns(whole=("start_us", "end_us", "first_segment", "last_segment", "frames")),
        sa.Column("best_score", sa.Double, nullable=False),
        *_columns(whole=("best_us", "best_epoch", "best_sequence")),
        sa.Column("best_box", sa.LargeBinary, nullable=False),
        sa.Column("last_box", sa.LargeBinary, nullable=False),
        *_columns(whole=("union_left", "union_top", "union_right", "union_bottom")),
    )
    op.create_index("ix_sightings_start", "sightings", ["start_us", "id"])
    op.create_index("ix_sightings_class", "sightings", ["class_name", "start_us", "id"])
    op.create_index("ix_sightings_camera", "sightings", ["camera", "start_us", "id"])
    op.create_index("ix_sightings_camera_class", "sightings", ["camera", "class_name", "start_us", "id"])
    op.create_index("ix_sightings_end", "sightings", ["camera", "end_us"])
    op.create_table(
        "activity",
        *_columns(text=("camera",), whole=("seconds", "start_us"), key=True),
        *_columns(text=("class_name", "model"), key=True),
        *_columns(whole=("frames", "boxes")),
        sa.Column("best_score", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "record_activity",
        *_columns(text=("camera",), whole=("seconds", "start_us"), key=True),
        *_columns(whole=("bytes",)),
        sqlite_with_rowid=False,
    )
    op.create_table("folding", *_columns(text=("camera",), key=True), *_columns(whole=("next_segment",)))


def _columns(text: tuple[str, ...] = (), whole: tuple[str, ...] = (), key: bool = False) -> list[sa.Column[object]]:
    """Columns of texts, then of whole numbers; with ``key`` of the primary key."""
    return [
        sa.Column(
            name, sa.String() if name in text else sa.BigInteger(), primary_key=key, autoincrement=False, nullable=False
        )
        for name in (*text, *whole)
    ]
