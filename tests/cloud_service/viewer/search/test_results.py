"""Pages of sightings, seen and not, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, insert

from cloud_service.database.sightings_tables import SegmentClassRow, SightingRow
from cloud_service.database.statements import transaction, walking
from cloud_service.sightings.page_cursor import PageCursor
from cloud_service.sightings.relative_boxes import RelativeBox
from cloud_service.sightings.search import SightingQuery
from cloud_service.viewer.search import results
from cloud_service.viewer.search.results import Found, find, find_unseen, known_to
from cloud_service.viewer.search.seen import mark, mark_all_before, rows_of

COUNT = 150
SECOND_US = 1_000_000
BOX = RelativeBox(0, 0, 6000, 6000)


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def sightings(database: Engine) -> list[int]:
    """Numbers of a hundred and fifty, one a second, the latest first."""
    rows = [
        {
            "camera": "gate",
            "class_name": ("car", "dog", "person")[number % 3],
            "model": "tiny",
            "start_us": number * SECOND_US,
            "end_us": (number + 2) * SECOND_US,
            "first_segment": 1,
            "last_segment": 1,
            "frames": 20,
            "best_score": 0.5,
            "best_us": (number + 1) * SECOND_US,
            "best_epoch": 7,
            "best_sequence": number,
            "best_box": BOX.pack(),
            "last_box": BOX.pack(),
            "union_left": 0,
            "union_top": 0,
            "union_right": 6000,
            "union_bottom": 6000,
        }
        for number in range(1, COUNT + 1)
    ]
    with transaction(database) as connection:
        ids = list(
            connection.scalars(insert(SightingRow).returning(SightingRow.id, sort_by_parameter_order=True), rows)
        )
    return ids[::-1]


def unseen(database: Engine, user: str = "vera") -> list[int]:
    """All that a user has not seen, page after page."""
    found: list[Found] = []
    after: PageCursor | None = None
    with walking(database) as connection:
        while True:
            page = find_unseen(connection, SightingQuery(), after, user)
            assert len(page.found) <= results.ON_A_PAGE
            found += page.found
            if (after := page.next) is None:
                return [each.id for each in found]


def test_pages_show_each_sighting_once_the_latest_first(database: Engine, sightings: list[int]) -> None:
    assert unseen(database) == sightings


@pytest.mark.parametrize("every", [1, 2, 7])
def test_what_somebody_has_seen_is_not_shown_to_them_again_and_to_others_it_is(
    database: Engine, sightings: list[int], every: int
) -> None:
    with transaction(database) as connection:
        mark(connection, "vera", rows_of(connection, sightings[::every]), seen=True)
    assert unseen(database) == [number for place, number in enumerate(sightings) if place % every]
    assert unseen(database, "otto") == sightings
    with transaction(database) as connection:
        mark(connection, "vera", rows_of(connection, sightings[:1]), seen=False)
    assert unseen(database)[0] == sightings[0]


def test_all_before_a_time_counts_as_seen(database: Engine, sightings: list[int]) -> None:
    with transaction(database) as connection:
        mark(connection, "vera", rows_of(connection, sightings), seen=True)
        mark_all_before(connection, "vera", 100 * SECOND_US)
    with walking(database) as connection:
        before = known_to(connection, "vera").seen_before_us
        page = find(connection, SightingQuery(to_us=101 * SECOND_US), None, "vera", before)
        assert (before, all(each.seen for each in page.found)) == (100 * SECOND_US, True)
        assert [each.id for each in page.found[:2]] == sightings[50:52]
    assert unseen(database) == sightings[51:], "single marks on what counts as seen anyway are not kept"


def test_the_classes_that_were_found_are_listed_once_each(database: Engine) -> None:
    rows = [
        {"camera": "gate", "number": n, "model": "tiny", "class_name": name, "last_us": n, "best_score": 0.5}
        for n in range(1, 5)
        for name in ("car", "person", "dog")
    ]
    with walking(database) as connection:
        assert known_to(connection, "vera").classes == ()
    with transaction(database) as connection:
        connection.execute(insert(SegmentClassRow), rows)
    with walking(database) as connection:
        assert known_to(connection, "vera").classes == ("car", "dog", "person")
