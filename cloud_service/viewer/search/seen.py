"""Which sightings a user has seen: one by one, and all that began before a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, delete, select

from cloud_service.database.sightings_tables import SightingRow
from cloud_service.database.statements import put_rows
from cloud_service.database.viewer_tables import ReviewRow, SeenRow


def mark(connection: Connection, user: str, sightings: Sequence[Any], seen: bool) -> None:
    """Marks sightings as seen by a user, or as not.

    Args:
        connection: in a transaction.
        user: their name.
        sightings: rows of ``sightings``.
        seen: which of both.
    """
    if seen:
        rows = [{"user_name": user, "sighting": row.id, "start_us": row.start_us} for row in sightings]
        put_rows(connection, SeenRow, rows, update=("start_us",))
    else:
        numbers = [row.id for row in sightings]
        connection.execute(delete(SeenRow).where(SeenRow.user_name == user, SeenRow.sighting.in_(numbers)))


def mark_all_before(connection: Connection, user: str, time_us: int) -> None:
    """All that began before a time counts as seen by a user; the single marks on it are needed no more."""
    put_rows(connection, ReviewRow, [{"user_name": user, "seen_before_us": time_us}], update=("seen_before_us",))
    connection.execute(delete(SeenRow).where(SeenRow.user_name == user, SeenRow.start_us < time_us))


def rows_of(connection: Connection, sightings: Collection[int]) -> Sequence[Any]:
    """The sightings of these numbers that there are."""
    if not sightings:
        return []
    return connection.execute(select(SightingRow.__table__).where(SightingRow.id.in_(sightings))).all()
