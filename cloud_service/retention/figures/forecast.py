"""When the disk, or what is allowed of it, will be full, as things grow.

What is free goes up and down as retention deletes, and a line through that says nothing. So it goes by what arrived on
the last days: records by day, and with them the other tiers in the shares that they have now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from cloud_service.database.sightings_tables import RecordActivityRow
from cloud_service.database.tables import CursorRow
from cloud_service.database.usage import Tier, read_usage
from cloud_service.retention.disk import Space
from cloud_service.retention_settings import RetentionSettings

DAYS = 7
"""That growth is taken from."""
_DAY_SECONDS = 86_400
_DAY_US = _DAY_SECONDS * 1_000_000


@dataclass(frozen=True)
class Growth:
    """What arrives.

    Attributes:
        bytes_a_day: of all tiers, as the disk counts them.
        used_bytes: what all tiers take now.
    """

    bytes_a_day: float
    used_bytes: int


def read_growth(database: Engine, now_us: int) -> Growth | None:
    """Growth by the last seven whole days, or as many of them as there are; None before the first is over.

    Args:
        now_us: microseconds since 1970.

    Raises:
        SQLAlchemyError: the database does not answer.
    """
    today_us = now_us // _DAY_US * _DAY_US
    of = RecordActivityRow
    query = select(func.sum(of.bytes), func.min(of.start_us)).where(
        # So that the index is walked camera by camera.
        of.camera.in_(select(CursorRow.camera)),
        of.seconds == _DAY_SECONDS,
        of.start_us >= today_us - DAYS * _DAY_US,
        of.start_us < today_us,
    )
    with database.connect() as connection:
        arrived, first_us = connection.execute(query).one()
    if not arrived:
        return None
    used = read_usage(database)
    records = sum(amount.bytes for key, amount in used.items() if key.tier is Tier.RECORDS)
    taken = sum(amount.disk_bytes for amount in used.values())
    days = (today_us - first_us) // _DAY_US
    return Growth(int(arrived) / days * (taken / records if records else 1.0), taken)


def full_times_us(
    settings: RetentionSettings, growth: Growth, space: Space, least_free: int, now_us: int
) -> Mapping[str, int]:
    """When each limit is reached, by its name; one that is never reached, as things go by age before, is not there.

    Args:
        settings: whose limits.
        growth: of what is stored.
        space: of the disk.
        least_free: bytes of it that are to stay free.
        now_us: microseconds since 1970.

    Returns:
        ``disk`` and, where there is that limit, ``total``: microseconds since 1970.
    """
    room = {"disk": space.free_bytes - least_free}
    if settings.total.max_bytes is not None:
        room["total"] = settings.total.max_bytes - growth.used_bytes
    age = settings.records.max_age_seconds
    # From then on as much goes as arrives.
    most = None if age is None else growth.bytes_a_day * age / _DAY_SECONDS - growth.used_bytes
    found = {}
    for name, left in room.items():
        if growth.bytes_a_day > 0 and (most is None or most > left):
            found[name] = now_us + round(max(left, 0) / growth.bytes_a_day * _DAY_US)
    return found
