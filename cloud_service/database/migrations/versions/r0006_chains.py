"""Chains over segments: how far each was read, and where its blocks lie."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Creates both tables; the first start fills them."""
    op.create_table(
        "chains",
        sa.Column("camera", sa.String, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("head", sa.String, nullable=False),
        sa.Column("numbers", sa.String, nullable=False),
        sa.Column("deleted", sa.String, nullable=False),
    )
    op.create_table(
        "chain_blocks",
        sa.Column("camera", sa.String, primary_key=True),
        sa.Column("block", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("first_number", sa.BigInteger, nullable=False),
        sa.Column("last_number", sa.BigInteger, nullable=False),
        sa.Column("first_us", sa.BigInteger, nullable=False),
        sa.Column("last_us", sa.BigInteger, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("length", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_chain_blocks_number", "chain_blocks", ["camera", "first_number"])
    op.create_index("ix_chain_blocks_capture", "chain_blocks", ["camera", "last_us"])
