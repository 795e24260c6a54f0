"""Tables of the viewer, which may be lost: people log in again, and have seen nothing.

viewer_sessions   browsers in which somebody is logged in
viewer_seen       sightings that somebody has seen
viewer_reviews    up to when somebody has seen all
"""

from __future__ import annotations

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from cloud_service.database.tables import Base


class ViewerSessionRow(Base):
    """A session; ``id`` is SHA-256 of what the browser shows. Times in microseconds since 1970."""

    __tablename__ = "viewer_sessions"
    __table_args__ = (
        Index("ix_viewer_sessions_user", "user_name", "created_us"),
        Index("ix_viewer_sessions_age", "created_us"),
    )

    id: Mapped[bytes] = mapped_column(primary_key=True)
    user_name: Mapped[str]
    created_us: Mapped[int]
    used_us: Mapped[int]
    address: Mapped[str]
    browser: Mapped[str]


class SeenRow(Base):
    """A sighting that a user has seen, by its ``id``; ``start_us`` is its beginning, in microseconds since 1970."""

    __tablename__ = "viewer_seen"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - SQLAlchemy's own way to say it

    user_name: Mapped[str] = mapped_column(primary_key=True)
    sighting: Mapped[int] = mapped_column(primary_key=True)
    start_us: Mapped[int]


class ReviewRow(Base):
    """What began before ``seen_before_us``, microseconds since 1970, counts as seen by a user."""

    __tablename__ = "viewer_reviews"

    user_name: Mapped[str] = mapped_column(primary_key=True)
    seen_before_us: Mapped[int]
