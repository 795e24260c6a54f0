"""Usage: what each tier of a camera takes on the disk, kept in the transaction that changes it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection, Engine, select

from cloud_service.database.statements import add_to_rows
from cloud_service.database.usage_tables import UsageRow


class Tier(StrEnum):
    """What is kept and deleted apart. Videos and thumbnails can be made again from records."""

    RECORDS = "records"
    KEYFRAMES = "keyframes"
    """What makes records readable from the middle; goes with them."""
    STILLS = "stills"
    """Key frames that stayed when their records went; counted as key frames."""
    VIDEO = "video"
    THUMBNAILS = "thumbnails"
    INDEX = "index"
    """What detectors found, in the database; it takes no file of its own, and is not counted as usage."""


class Amount(NamedTuple):
    """Files, or how many more of them there are than before.

    Attributes:
        files: how many.
        bytes: in them.
        disk_bytes: what the disk gave them, in whole blocks; on object stores their bytes.
    """

    files: int = 0
    bytes: int = 0
    disk_bytes: int = 0

    def __add__(self, other: tuple[int, ...]) -> Amount:  # type: ignore[override]
        return Amount(*(mine + its for mine, its in zip(self, other, strict=True)))

    def __neg__(self) -> Amount:
        return Amount(*(-value for value in self))


class UsageKey(NamedTuple):
    """Whose files, and which of them."""

    camera: str
    tier: Tier


def add_usage(connection: Connection, changes: Mapping[UsageKey, Amount]) -> None:
    """Adds to what tiers take, as part of the connection's transaction; deletions are added as negative amounts."""
    rows = [{**key._asdict(), **amount._asdict()} for key, amount in sorted(changes.items()) if any(amount)]
    add_to_rows(connection, UsageRow, rows)


def read_usage(database: Engine) -> dict[UsageKey, Amount]:
    """What every tier of every camera takes.

    Raises:
        SQLAlchemyError: the database does not answer.
    """
    with database.connect() as connection:
        rows = connection.execute(select(UsageRow.__table__)).all()
    return {UsageKey(row.camera, Tier(row.tier)): Amount(row.files, row.bytes, row.disk_bytes) for row in rows}
