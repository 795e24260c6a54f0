"""The table of what lies on the disks, kept with every change: to add it up at each scrape would read every row."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from cloud_service.database.tables import Base


class UsageRow(Base):
    """What one tier of a camera takes: how many files, their bytes, and the bytes that the disk gave them."""

    __tablename__ = "usage"

    camera: Mapped[str] = mapped_column(primary_key=True)
    tier: Mapped[str] = mapped_column(primary_key=True)
    files: Mapped[int]
    bytes: Mapped[int]
    disk_bytes: Mapped[int]
