"""The database's tables, as the newest step of ``migrations`` leaves them.

store             which record store all the rest is about
record_segments   what the record store's sealed segment files hold; the files are the truth
frames            one row per frame in which a detector found something
detections        what it found there
empty_frames      ranges of frames in which it found nothing
skipped_frames    one row per frame that no detector will look at, and why
video_segments    the MP4 files for people
usage             what each tier of a camera takes on the disk; see usage_tables.py
tombstones        record segments that were deleted, and why
progress          how far each camera's records were detected and rendered
"""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

# SQLite numbers rows by itself only where the key's type is INTEGER.
RowId = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    type_annotation_map = {int: BigInteger}  # noqa: RUF012 - SQLAlchemy's own way to say it


class StoreRow(Base):
    """The one record store that the database belongs to; see ``store_identity``."""

    __tablename__ = "store"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class RecordSegmentRow(Base):
    """A sealed segment; the fields are those of ``Segment``, a checksum over them, and what searches go by."""

    __tablename__ = "record_segments"
    __table_args__ = (
        Index("ix_record_segments_sequence", "camera", "epoch", "first_sequence"),
        Index("ix_record_segments_age", "kept_from_us", "camera", "number"),
        Index("ix_record_segments_camera_age", "camera", "kept_from_us", "number"),
        Index("ix_record_segments_capture", "camera", "first_capture_us"),
        # Only of the few that are not whole.
        Index(
            "ix_record_segments_state",
            "camera",
            "state",
            sqlite_where=text("state <> 'whole'"),
            postgresql_where=text("state <> 'whole'"),
        ),
    )

    camera: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int]
    path: Mapped[str]
    size: Mapped[int]
    records: Mapped[int]
    first_capture_us: Mapped[int]
    last_capture_us: Mapped[int]
    sequences: Mapped[str]
    kept_from_us: Mapped[int]
    disk_bytes: Mapped[int]
    sha256: Mapped[bytes]
    checksum: Mapped[int]
    first_sequence: Mapped[int]
    last_sequence: Mapped[int]
    state: Mapped[str]


class FrameRow(Base):
    """A frame that a detector looked at; times in microseconds since 1970, UTC. One without detections is from before
    ``empty_frames``, or a later event of a frame that had one. Those of segments that are done with lie in ``boxes``.
    """

    __tablename__ = "frames"
    __table_args__ = (
        UniqueConstraint("camera", "epoch", "sequence", "model"),
        Index("ix_frames_camera_capture", "camera", "capture_us"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    camera: Mapped[str]
    epoch: Mapped[int]
    sequence: Mapped[int]
    capture_us: Mapped[int]
    model: Mapped[str]
    detections: Mapped[list[DetectionRow]] = relationship(
        cascade="all, delete-orphan", order_by="DetectionRow.id", lazy="selectin"
    )


class DetectionRow(Base):
    """One object found; the box in pixels."""

    __tablename__ = "detections"
    __table_args__ = (Index("ix_detections_frame", "frame_id"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    frame_id: Mapped[int] = mapped_column(ForeignKey("frames.id", ondelete="CASCADE"))
    class_name: Mapped[str]
    score: Mapped[float]
    left: Mapped[float]
    top: Mapped[float]
    right: Mapped[float]
    bottom: Mapped[float]


class EmptyFramesRow(Base):
    """Those of a block of consecutive sequences in whose frames a model found nothing; see ``events.empty_frames``."""

    __tablename__ = "empty_frames"
    __table_args__ = (Index("ix_empty_frames_capture", "camera", "last_capture_us"),)

    camera: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    block: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    sequences: Mapped[str]
    captures: Mapped[bytes]
    first_capture_us: Mapped[int]
    last_capture_us: Mapped[int]


class SkippedFrameRow(Base):
    """A frame that no detector will look at."""

    __tablename__ = "skipped_frames"

    camera: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    why: Mapped[str]


class VideoSegmentRow(Base):
    """An MP4 file, rendered from the record segment of the same number, and its thumbnail. What is gone has an empty
    path; where both are, there is no row.
    """

    __tablename__ = "video_segments"
    __table_args__ = (
        Index("ix_video_segments_start", "camera", "start_us"),
        # The oldest that are still there, behind which may lie years of those that are gone.
        *(
            Index(
                f"ix_video_segments_{name}",
                "camera",
                "start_us",
                sqlite_where=text(f"{path} <> ''"),
                postgresql_where=text(f"{path} <> ''"),
            )
            for name, path in (("video", "path"), ("thumbnail", "thumbnail_path"))
        ),
    )

    camera: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    start_us: Mapped[int]
    duration_us: Mapped[int]
    frames: Mapped[int]
    path: Mapped[str]
    bytes: Mapped[int]
    thumbnail_path: Mapped[str]
    thumbnail_bytes: Mapped[int]
    disk_bytes: Mapped[int]
    thumbnail_disk_bytes: Mapped[int]
    init: Mapped[str]
    fragments: Mapped[str]


class TombstoneRow(Base):
    """A record segment that was deleted; see ``proof.tombstones``."""

    __tablename__ = "tombstones"
    __table_args__ = (Index("ix_tombstones_capture", "camera", "last_capture_us"),)

    camera: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int]
    first_capture_us: Mapped[int]
    last_capture_us: Mapped[int]
    records: Mapped[int]
    size: Mapped[int]
    sequences: Mapped[str]
    sha256: Mapped[bytes]
    reason: Mapped[str]
    rule: Mapped[str]
    deleted_by: Mapped[str]
    deleted_us: Mapped[int]


class CursorRow(Base):
    """Where a camera's log is to be read on from."""

    __tablename__ = "progress"

    camera: Mapped[str] = mapped_column(primary_key=True)
    detect_segment: Mapped[int]
    detect_offset: Mapped[int]
    archive_segment: Mapped[int]
