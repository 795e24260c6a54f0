"""Tables of re-detection: jobs, and how far each got in each camera's log.

redetections        one row per job
redetection_units   one row per job and camera
"""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from cloud_service.database.tables import Base, RowId


class RedetectionRow(Base):
    """A job, as ``redetection.jobs.Job`` has it; times in microseconds since 1970, UTC."""

    __tablename__ = "redetections"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    state: Mapped[str]
    detector: Mapped[str]
    weights: Mapped[str]
    sha256: Mapped[str]
    model: Mapped[str]
    every: Mapped[int]
    changed: Mapped[bool]
    from_us: Mapped[int]
    to_us: Mapped[int]
    created_us: Mapped[int]
    problem: Mapped[str]


class RedetectionUnitRow(Base):
    """One camera of a job: its segments from ``next_segment`` to ``last_segment`` are still to be looked at."""

    __tablename__ = "redetection_units"

    job_id: Mapped[int] = mapped_column(ForeignKey("redetections.id", ondelete="CASCADE"), primary_key=True)
    camera: Mapped[str] = mapped_column(primary_key=True)
    next_segment: Mapped[int]
    last_segment: Mapped[int]
    segments: Mapped[int]
    done: Mapped[int]
    lost: Mapped[int]
    frames: Mapped[int]
    looked_at: Mapped[int]
    skipped: Mapped[int]
    objects: Mapped[int]
