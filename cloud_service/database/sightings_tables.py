"""Tables of what detectors found in sealed segments, packed, and what is searched.

boxes             all that one model found in a segment, packed; a row a segment and model
box_blocks        which frames of a block of sequences those rows hold
segment_classes   which classes they hold
sightings         one object seen for a while
activity          what was seen by minute, hour and day
record_activity   bytes of records by minute, hour and day
folding           how far each camera's events have been packed
"""

from __future__ import annotations

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cloud_service.database.tables import Base, RowId


class BoxesRow(Base):
    """All that one model found in a segment; a higher ``id`` is a newer model's. See ``events.packed_boxes``."""

    __tablename__ = "boxes"
    __table_args__ = (
        UniqueConstraint("camera", "number", "model"),
        Index("ix_boxes_first", "camera", "first_us"),
        Index("ix_boxes_camera_last", "camera", "last_us"),
        Index("ix_boxes_last", "last_us"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    camera: Mapped[str]
    number: Mapped[int]
    model: Mapped[str]
    epoch: Mapped[int]
    first_us: Mapped[int]
    last_us: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    frames: Mapped[int]
    boxes: Mapped[int]
    data: Mapped[bytes]


class BoxBlockRow(Base):
    """Those of a block of consecutive sequences whose events are in a row of ``boxes``."""

    __tablename__ = "box_blocks"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - SQLAlchemy's own way to say it

    camera: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    block: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    sequences: Mapped[str]


class SegmentClassRow(Base):
    """A class that one model found in a segment."""

    __tablename__ = "segment_classes"
    __table_args__ = (
        Index("ix_segment_classes_last", "class_name", "last_us"),
        Index("ix_segment_classes_camera_last", "camera", "class_name", "last_us"),
        {"sqlite_with_rowid": False},
    )

    camera: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    class_name: Mapped[str] = mapped_column(primary_key=True)
    last_us: Mapped[int]
    best_score: Mapped[float]


class SightingRow(Base):
    """One object that one model saw for a while; see ``sightings.linking``.

    Boxes are in 65535ths of the picture's width and height: ``best_box`` and ``last_box`` four unsigned 16-bit numbers
    (left, top, right, bottom), the union of all boxes a column each, as searches go by it.
    """

    __tablename__ = "sightings"
    __table_args__ = (
        Index("ix_sightings_start", "start_us", "id"),
        Index("ix_sightings_class", "class_name", "start_us", "id"),
        Index("ix_sightings_camera", "camera", "start_us", "id"),
        Index("ix_sightings_camera_class", "camera", "class_name", "start_us", "id"),
        Index("ix_sightings_end", "camera", "end_us"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    camera: Mapped[str]
    class_name: Mapped[str]
    model: Mapped[str]
    start_us: Mapped[int]
    end_us: Mapped[int]
    first_segment: Mapped[int]
    last_segment: Mapped[int]
    frames: Mapped[int]
    best_score: Mapped[float]
    best_us: Mapped[int]
    best_epoch: Mapped[int]
    best_sequence: Mapped[int]
    best_box: Mapped[bytes]
    last_box: Mapped[bytes]
    union_left: Mapped[int]
    union_top: Mapped[int]
    union_right: Mapped[int]
    union_bottom: Mapped[int]


class ActivityRow(Base):
    """What one model found of a class in ``seconds`` (60, 3600 or 86400) from ``start_us`` on, UTC."""

    __tablename__ = "activity"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - SQLAlchemy's own way to say it

    camera: Mapped[str] = mapped_column(primary_key=True)
    seconds: Mapped[int] = mapped_column(primary_key=True)
    start_us: Mapped[int] = mapped_column(primary_key=True)
    class_name: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    frames: Mapped[int]
    boxes: Mapped[int]
    best_score: Mapped[float]


class RecordActivityRow(Base):
    """Bytes of records in ``seconds`` from ``start_us`` on; as a camera sends little while nothing moves, they tell of
    motion, whatever a detector knows.
    """

    __tablename__ = "record_activity"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - SQLAlchemy's own way to say it

    camera: Mapped[str] = mapped_column(primary_key=True)
    seconds: Mapped[int] = mapped_column(primary_key=True)
    start_us: Mapped[int] = mapped_column(primary_key=True)
    bytes: Mapped[int]


class FoldingRow(Base):
    """The first segment of a camera whose events have not been packed yet."""

    __tablename__ = "folding"

    camera: Mapped[str] = mapped_column(primary_key=True)
    next_segment: Mapped[int]
