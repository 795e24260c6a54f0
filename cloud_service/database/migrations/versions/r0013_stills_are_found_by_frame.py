"""Pictures that are left of deleted segments are found by their frame."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Adds the index."""
    op.create_index("ix_stills_frame", "stills", ["camera", "epoch", "first_sequence"])
