"""The index of segments is asked for ranges, where it was read whole at each start: by the sequences of a segment, and
by whether its file is whole.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the columns, filled from ``sequences``, such as ``1-5,7-7``, and their indexes."""
    for name in ("first_sequence", "last_sequence"):
        op.add_column("record_segments", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("record_segments", sa.Column("state", sa.String, nullable=False, server_default="whole"))
    digits = "'0123456789'"
    # What a damaged row holds is no number, perhaps; its checksum does not fit, so it is no row.
    op.execute(
        "UPDATE record_segments SET first_sequence = CAST(substr(sequences, 1,"
        f" length(sequences) - length(ltrim(sequences, {digits}))) AS BIGINT),"
        f" last_sequence = CAST(substr(sequences, length(rtrim(sequences, {digits})) + 1) AS BIGINT)"
        " WHERE sequences LIKE '_%-_%'"
    )
    op.create_index("ix_record_segments_sequence", "record_segments", ["camera", "epoch", "first_sequence"])
    op.create_index(
        "ix_record_segments_state",
        "record_segments",
        ["camera", "state"],
        sqlite_where=sa.text("state <> 'whole'"),
        postgresql_where=sa.text("state <> 'whole'"),
    )
