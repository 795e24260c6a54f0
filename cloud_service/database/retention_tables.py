"""Tables of what retention is about to delete, and of what it left.

garbage   files that no row speaks of any more, and that are to be unlinked
stills    key frames that stayed when their quiet records went
forgotten up to when what detectors found of a camera was deleted, though its records may still be there
"""

from __future__ import annotations

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from cloud_service.database.tables import Base


class GarbageRow(Base):
    """A file that is to go; its path relative to ``root``, which is ``records`` or ``archive``."""

    __tablename__ = "garbage"

    root: Mapped[str] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(primary_key=True)
    disk_bytes: Mapped[int]


class StillRow(Base):
    """A key frame without its records; times in microseconds since 1970."""

    __tablename__ = "stills"
    __table_args__ = (
        Index("ix_stills_age", "camera", "kept_from_us", "number"),
        Index("ix_stills_frame", "camera", "epoch", "first_sequence"),
    )

    camera: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int]
    first_sequence: Mapped[int]
    kept_from_us: Mapped[int]
    first_capture_us: Mapped[int]
    last_capture_us: Mapped[int]
    path: Mapped[str]
    bytes: Mapped[int]
    disk_bytes: Mapped[int]


class ForgottenRow(Base):
    """What was captured up to ``last_us``, microseconds since 1970, may hold what no row tells of any more."""

    __tablename__ = "forgotten"

    camera: Mapped[str] = mapped_column(primary_key=True)
    last_us: Mapped[int]
