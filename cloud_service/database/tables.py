"""The database's tables, and how to open it. SQLite by default, any other database by URL.

store             which record store all the rest is about
record_segments   what the record store's sealed segment files hold; the files are the truth
frames            one row per frame that a detector looked at
detections        what it found there
skipped_frames    one row per frame that no detector will look at, and why
video_segments    the MP4 files for people
progress          how far each camera's records were detected and rendered
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Engine, ForeignKey, Index, Integer, UniqueConstraint, create_engine, event, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from cloud_service.database.damage import set_aside_if_damaged, trouble, watch_for_damage
from icm.errors import ConfigError, StorageError
from icm.service.owner_lock import OwnerLock

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
    """A sealed segment; the fields are those of ``record_store.Segment``, and a checksum over them."""

    __tablename__ = "record_segments"

    camera: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int]
    path: Mapped[str]
    size: Mapped[int]
    records: Mapped[int]
    first_capture_us: Mapped[int]
    last_capture_us: Mapped[int]
    sequences: Mapped[str]
    checksum: Mapped[int]


class FrameRow(Base):
    """A frame that a detector looked at; times in microseconds since 1970, UTC."""

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
    __table_args__ = (Index("ix_detections_class", "class_name", "frame_id"), Index("ix_detections_frame", "frame_id"))

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    frame_id: Mapped[int] = mapped_column(ForeignKey("frames.id", ondelete="CASCADE"))
    class_name: Mapped[str]
    score: Mapped[float]
    left: Mapped[float]
    top: Mapped[float]
    right: Mapped[float]
    bottom: Mapped[float]


class SkippedFrameRow(Base):
    """A frame that no detector will look at."""

    __tablename__ = "skipped_frames"

    camera: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    why: Mapped[str]


class VideoSegmentRow(Base):
    """An MP4 file, rendered from the record segment of the same number."""

    __tablename__ = "video_segments"
    __table_args__ = (Index("ix_video_segments_start", "camera", "start_us"),)

    camera: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    start_us: Mapped[int]
    duration_us: Mapped[int]
    frames: Mapped[int]
    path: Mapped[str]
    bytes: Mapped[int]
    thumbnail_path: Mapped[str]
    thumbnail_bytes: Mapped[int]


class ProgressRow(Base):
    """Where a camera's log is to be read on from."""

    __tablename__ = "progress"

    camera: Mapped[str] = mapped_column(primary_key=True)
    detect_segment: Mapped[int]
    detect_offset: Mapped[int]
    archive_segment: Mapped[int]


def database_engine(url: str) -> Engine:
    """The database at a URL; does not connect yet.

    Raises:
        ConfigError: the URL is none, or its driver is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        # It may hold a password, and nobody can tell where.
        raise ConfigError("the setting database is no URL: write it as sqlite:////path/to/file.db") from None
    try:
        engine = create_engine(parsed)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigError(
            f"cannot use database {parsed.render_as_string()}: {error}; install its driver, or write it as"
            " sqlite:////path/to/file.db"
        ) from None
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def own_database(url: str) -> OwnerLock | None:
    """Takes an SQLite file for this process; a database server sees to its own.

    Raises:
        ConfigError: the URL is none, or its driver is not installed.
        StorageError: another process uses it, or its folder cannot be used.
    """
    if (path := _sqlite_path(database_engine(url))) is None:
        return None
    return OwnerLock(path.with_name(f"{path.name}.lock"), f"the database {path}", "icm-cloud", StorageError)


def open_database(url: str) -> Engine:
    """Opens the database, which no other process uses, and creates the tables it lacks. A damaged SQLite file is set
    aside for a new one.

    Raises:
        ConfigError: the URL is none, or its driver is not installed.
        StorageError: the database cannot be reached.
    """
    engine = database_engine(url)
    try:
        if (path := _sqlite_path(engine)) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            set_aside_if_damaged(path)
            watch_for_damage(engine, path)
        _drop_old_index(engine)
        Base.metadata.create_all(engine)
    except (SQLAlchemyError, OSError) as error:
        engine.dispose()
        reason = trouble(error) if isinstance(error, SQLAlchemyError) else error.strerror
        raise StorageError(f"cannot open database {engine.url.render_as_string()}: {reason}") from None
    return engine


def _sqlite_path(engine: Engine) -> Path | None:
    """Where the database is a file of this machine: that."""
    name = engine.url.database if engine.url.get_backend_name() == "sqlite" else None
    return Path(name) if name and name != ":memory:" else None


def _drop_old_index(engine: Engine) -> None:
    """Drops an index of segments from before its rows had all that they have; the start reads the files instead."""
    table = Base.metadata.tables[RecordSegmentRow.__tablename__]
    if inspect(engine).has_table(table.name):
        found = {column["name"] for column in inspect(engine).get_columns(table.name)}
        if found != set(table.columns.keys()):
            Base.metadata.drop_all(engine, [table])


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
