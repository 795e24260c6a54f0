"""What a chain says of itself, such as which of its entries were dropped, is known without reading it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Chains of before say nothing of themselves."""
    op.add_column("chains", sa.Column("statements", sa.String, nullable=False, server_default=""))
