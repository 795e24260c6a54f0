"""Tables about the chains; the chains' own files are the truth, and these are made from them again."""

from __future__ import annotations

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from cloud_service.database.tables import Base


class ChainRow(Base):
    """How far a camera's chain was read: to its byte ``size``, where a head ends.

    ``numbers`` are the segments that have a leaf, ``deleted`` those that have a tombstone, as ranges. ``statements``
    are the entries that count for all of the chain, a line each.
    """

    __tablename__ = "chains"

    camera: Mapped[str] = mapped_column(primary_key=True)
    size: Mapped[int]
    head: Mapped[str]
    numbers: Mapped[str]
    deleted: Mapped[str]
    statements: Mapped[str]


class ChainBlockRow(Base):
    """Where a block lies in its camera's chain, and what it is about; times in microseconds since 1970."""

    __tablename__ = "chain_blocks"
    __table_args__ = (
        Index("ix_chain_blocks_number", "camera", "first_number"),
        Index("ix_chain_blocks_capture", "camera", "last_us"),
    )

    camera: Mapped[str] = mapped_column(primary_key=True)
    block: Mapped[int] = mapped_column(primary_key=True)
    first_number: Mapped[int]
    last_number: Mapped[int]
    first_us: Mapped[int]
    last_us: Mapped[int]
    offset: Mapped[int]
    length: Mapped[int]
