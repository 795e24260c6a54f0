"""Jobs that detect the past anew, and how far they got."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Creates the tables of jobs and of their cameras."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "redetections",
        sa.Column("id", number, primary_key=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("detector", sa.String, nullable=False),
        sa.Column("weights", sa.String, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("every", sa.BigInteger, nullable=False),
        sa.Column("changed", sa.Boolean, nullable=False),
        sa.Column("from_us", sa.BigInteger, nullable=False),
        sa.Column("to_us", sa.BigInteger, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("problem", sa.String, nullable=False),
    )
    counts = ("segments", "done", "lost", "frames", "looked_at", "skipped", "objects")
    op.create_table(
        "redetection_units",
        sa.Column(
            "job_id",
            number,
            sa.ForeignKey("redetections.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("camera", sa.String, primary_key=True),
        sa.Column("next_segment", sa.BigInteger, nullable=False),
        sa.Column("last_segment", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in counts),
    )
