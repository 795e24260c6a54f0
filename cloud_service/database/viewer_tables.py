"""Tables of the viewer, which may be lost: people log in again.

viewer_sessions   browsers in which somebody is logged in
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
