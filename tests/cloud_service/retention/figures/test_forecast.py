"""When a limit is reached, as things grow."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, insert

from cloud_service.database.sightings_tables import RecordActivityRow
from cloud_service.database.statements import transaction
from cloud_service.database.tables import CursorRow
from cloud_service.database.usage import Amount, Tier, UsageKey, add_usage
from cloud_service.retention.disk import Space
from cloud_service.retention.figures.forecast import Growth, full_times_us, read_growth
from cloud_service.retention_settings import RetentionSettings

DAY_US = 86_400 * 1_000_000
NOW_US = 20_000 * DAY_US + DAY_US // 3
CURSORS = ("detect_segment", "detect_offset", "archive_segment")
SPACE = Space(10_000, 3_000, 100, 50)


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def arrived(database: Engine, camera: str, *by_day: int) -> None:
    """Bytes of records by day, the last of them today."""
    today = NOW_US // DAY_US
    rows = [
        {"camera": camera, "seconds": seconds, "start_us": (today - len(by_day) + 1 + day) * DAY_US, "bytes": size}
        for day, size in enumerate(by_day)
        for seconds in (60, 3600, 86_400)
    ]
    with transaction(database) as connection:
        connection.execute(insert(CursorRow), [{"camera": camera, **dict.fromkeys(CURSORS, 1)}])
        connection.execute(insert(RecordActivityRow), rows)


def test_growth_is_that_of_the_last_whole_days_with_the_tiers_that_records_bring_along(database: Engine) -> None:
    arrived(database, "gate", *[10_000] * 3, *[100] * 7, 77)
    arrived(database, "yard", 50, 50, 77)
    with transaction(database) as connection:
        changes = {
            UsageKey("gate", Tier.RECORDS): Amount(3, 1000, 1200),
            UsageKey("gate", Tier.VIDEO): Amount(3, 1700, 1800),
        }
        add_usage(connection, changes)
    # 700 and 100 bytes in seven days, and 3000 on the disk for 1000 of records.
    assert read_growth(database, NOW_US) == Growth(pytest.approx(800 / 7 * 3), 3000)


def test_before_the_first_day_is_over_nothing_is_known(database: Engine) -> None:
    assert read_growth(database, NOW_US) is None
    arrived(database, "gate", 500)
    assert read_growth(database, NOW_US) is None


@pytest.mark.parametrize(
    ("settings", "days"),
    [
        ({}, {"disk": 20}),
        ({"total": {"max_bytes": 6000}}, {"disk": 20, "total": 10}),
        ({"total": {"max_bytes": 4000}}, {"disk": 20, "total": 0}),
        # What is older than 30 days goes, and 30 days are 3000 bytes.
        ({"records": {"max_age_seconds": 30 * 86_400}}, {}),
        # 80 days are 8000: more than what fits into the total, and into the disk too.
        ({"records": {"max_age_seconds": 80 * 86_400}, "total": {"max_bytes": 6000}}, {"disk": 20, "total": 10}),
        ({"records": {"max_age_seconds": 65 * 86_400}, "total": {"max_bytes": 6000}}, {"total": 10}),
    ],
)
def test_a_limit_is_reached_when_what_is_left_of_it_has_arrived_unless_age_deletes_before(
    settings: dict[str, object], days: dict[str, int]
) -> None:
    of = RetentionSettings.model_validate(settings)
    found = full_times_us(of, Growth(100.0, 5000), SPACE, 1000, NOW_US)
    assert found == {rule: NOW_US + count * DAY_US for rule, count in days.items()}
