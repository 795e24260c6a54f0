"""Sightings are found by all that can be asked, in pages."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from cloud_service.database.sightings_tables import SightingRow
from cloud_service.sightings import search as module
from cloud_service.sightings import timeline
from cloud_service.sightings.page_cursor import PageCursor
from cloud_service.sightings.relative_boxes import WHOLE, RelativeBox
from cloud_service.sightings.search import SightingQuery, search_sightings
from cloud_service.sightings.timeline import list_boxes, read_activity
from icm.errors import ConfigError
from tests.cloud_service.sightings.scenes import (
    FRAMES,
    SEGMENT_US,
    START_US,
    box,
    committed,
    fold,
    frame_event,
    segment,
    walk,
)

CAMERAS = ("gate", "yard", "door")
END_US = START_US + 6 * SEGMENT_US
LEFT_HALF = RelativeBox(0, 0, WHOLE // 2, WHOLE)


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def filled(database: Engine) -> Engine:
    """Three cameras, six segments each."""
    for camera in CAMERAS:
        committed(database, walk(1, 6 * FRAMES, camera))
        fold(database, *(segment(number, camera) for number in range(1, 7)))
    return database


def search(database: Engine, query: SightingQuery, limit: int = 100) -> list[Any]:
    """All pages."""
    found: list[Any] = []
    after: PageCursor | None = None
    with database.connect() as connection:
        while True:
            page = search_sightings(connection, query, limit, after)
            found += page.rows
            if page.next is None:
                return found
            after = page.next


def all_rows(database: Engine) -> list[Any]:
    with database.connect() as connection:
        rows = connection.execute(SightingRow.__table__.select()).all()
    return sorted(rows, key=lambda row: (-row.start_us, -row.id))


QUERIES = {
    "everything": (SightingQuery(), lambda row: True),
    "a class": (SightingQuery(classes=("car",)), lambda row: row.class_name == "car"),
    "a camera": (SightingQuery(cameras=("yard",)), lambda row: row.camera == "yard"),
    "some of both": (
        SightingQuery(cameras=("door", "gate"), classes=("car", "person")),
        lambda row: row.camera in ("door", "gate"),
    ),
    "a class nobody saw": (SightingQuery(classes=("dog",)), lambda row: False),
    "no camera": (SightingQuery(cameras=()), lambda row: False),
    "many cameras": (
        SightingQuery(cameras=("yard", *(f"camera-{n}" for n in range(70)))),
        lambda row: row.camera == "yard",
    ),
    "a score": (SightingQuery(least_score=0.7), lambda row: row.best_score >= 0.7),
    "a time": (
        SightingQuery(from_us=START_US + SEGMENT_US, to_us=START_US + 3 * SEGMENT_US),
        lambda row: row.end_us >= START_US + SEGMENT_US and row.start_us < START_US + 3 * SEGMENT_US,
    ),
    "a duration": (SightingQuery(least_us=3_000_000), lambda row: row.end_us - row.start_us >= 3_000_000),
    "a model": (SightingQuery(model="large"), lambda row: row.model == "large"),
}


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_pages_together_are_what_was_asked_for_newest_first(filled: Engine, limit: int) -> None:
    known = all_rows(filled)
    assert len(known) == 9
    for name, (query, wanted) in QUERIES.items():
        expected = [row for row in known if wanted(row)]
        assert search(filled, query, limit) == expected, name
        with filled.connect() as connection:
            page = search_sightings(connection, query, limit, None, counted=True)
        assert page.count == (len(expected), False), name


def test_a_region_finds_what_was_in_it_and_not_what_only_went_around_it(database: Engine) -> None:
    # From the left to the right along the top, then down: the union is everything, the lower left was never touched.
    corner = [frame_event(n, box(20 * n, top=0.0)) for n in range(1, 21)]
    corner += [frame_event(20 + n, box(400, top=15.0 * n)) for n in range(1, 21)]
    committed(database, corner)
    fold(database, segment(1), segment(2))
    (row,) = all_rows(database)
    assert (row.union_left, row.union_bottom) == (round(20 / 640 * WHOLE), round(420 / 480 * WHOLE))
    lower_left = RelativeBox(0, round(0.6 * WHOLE), round(0.5 * WHOLE), WHOLE)
    lower_right = replace_left(lower_left, round(0.6 * WHOLE))
    assert search(database, SightingQuery(region=lower_left)) == []
    assert search(database, SightingQuery(region=lower_right)) == [row]


def replace_left(region: RelativeBox, left: int) -> RelativeBox:
    return region._replace(left=left, right=WHOLE)


@pytest.mark.parametrize(("unpacked", "together"), [(1, 1), (2, 5), (200, 3), (200, 200)])
def test_pages_of_a_region_together_are_what_was_in_it_however_little_each_looks_into(
    filled: Engine, monkeypatch: pytest.MonkeyPatch, unpacked: int, together: int
) -> None:
    monkeypatch.setattr(module, "_MOST_UNPACKED", unpacked)
    monkeypatch.setattr(module, "_READ_TOGETHER", together)
    with filled.connect() as connection:
        frames = [of for camera in CAMERAS for of in list_boxes(connection, camera, START_US, END_US)[0]]
    left, top, right, bottom = 120.0, 90.0, 150.0, 110.0
    parts = (left / 640, top / 480, right / 640, bottom / 480)
    region = RelativeBox(*(round(part * WHOLE) for part in parts))
    inside = {
        number
        for of in frames
        for number, box in zip(of.sightings, of.event.detections, strict=True)
        if box.left <= right and box.right >= left and box.top <= bottom and box.bottom >= top
    }
    expected = [row for row in all_rows(filled) if row.id in inside]
    assert 3 <= len(expected) < 9
    for limit in (1, 2, 100):
        assert search(filled, SightingQuery(region=region), limit) == expected


@pytest.mark.parametrize("branches", [1, 2, 4])
def test_many_cameras_and_classes_are_found_whichever_of_them_the_database_walks(
    filled: Engine, monkeypatch: pytest.MonkeyPatch, branches: int
) -> None:
    monkeypatch.setattr(module, "_MOST_BRANCHES", branches)
    for cameras in (None, ("yard",), ("door", "gate"), CAMERAS):
        for classes in ((), ("car",), ("car", "person"), ("car", "dog", "horse", "person")):
            query = SightingQuery(cameras=cameras, classes=classes)
            expected = [
                row
                for row in all_rows(filled)
                if row.camera in (cameras or CAMERAS) and row.class_name in (classes or ("car", "person"))
            ]
            assert search(filled, query, 2) == expected, query


@pytest.mark.parametrize("looked_at", [1, 3, 9])
def test_a_page_looks_at_a_bounded_number_and_says_where_to_go_on(
    filled: Engine, monkeypatch: pytest.MonkeyPatch, looked_at: int
) -> None:
    monkeypatch.setattr(module, "_LOOKED_AT", looked_at)
    known = all_rows(filled)
    nobody = SightingQuery(least_score=0.999)
    with filled.connect() as connection:
        page = search_sightings(connection, nobody, 5, None, counted=True)
    assert page.count == (0, True)
    assert page.rows == []
    assert page.next == PageCursor(known[looked_at - 1].start_us, 0)
    for name, (query, wanted) in QUERIES.items():
        assert search(filled, query, 2) == [row for row in known if wanted(row)], name


def test_a_cursor_goes_on_with_its_own_question_alone() -> None:
    cursor = PageCursor(START_US, 7)
    given = cursor.to_text("people at the gate")
    assert PageCursor.from_text(given, "people at the gate") == cursor
    with pytest.raises(ConfigError, match="is another request's"):
        PageCursor.from_text(given, "cars at the gate")
    for wrong in ("", "x", "ümlaut", given[:-4], given + "AAAA", "!" * 27):
        with pytest.raises(ConfigError, match=r"the cursor .* is none that an answer gave"):
            PageCursor.from_text(wrong, "people at the gate")


def test_activity_is_told_by_minute_with_bytes_also_where_nothing_was_found(filled: Engine) -> None:
    fold(filled, segment(20))
    with filled.connect() as connection:
        minutes, rest = read_activity(connection, "gate", "", 60, START_US - 60_000_000, START_US + 400_000_000)
        people, _ = read_activity(connection, "gate", "person", 3600, START_US - 3_600_000_000, END_US)
    assert rest is None
    assert minutes[0].start_us == START_US - 40_000_000
    assert sum(bucket.bytes for bucket in minutes) == 7 * 30_001
    assert not minutes[-1].classes
    (row,) = people[0].classes
    assert row.boxes == sum(found.class_name == "person" for of in walk(1, 6 * FRAMES) for found in of.detections)


def test_boxes_of_a_stretch_of_time_are_those_of_its_frames_packed_or_not(
    filled: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(filled, walk(6 * FRAMES + 1, 8 * FRAMES))
    expected = [of for of in walk(1, 8 * FRAMES) if of.detections][5:-5]
    from_us, to_us = expected[0].capture_us, expected[-1].capture_us + 1
    for most in (20_000, 30):
        monkeypatch.setattr(timeline, "MOST_BOXES", most)
        got, start, answers = [], from_us, 0
        with filled.connect() as connection:
            while start is not None:
                part, start = list_boxes(connection, "gate", start, to_us)
                got += part
                answers += 1
        assert [of.event.key for of in got] == [of.key for of in expected]
        assert [len(of.event.detections) for of in got] == [len(of.detections) for of in expected]
        assert (answers > 3) == (most == 30)
        assert {(of.width, of.height) for of in got if of.sightings} == {(640, 480)}
    with filled.connect() as connection:
        assert list_boxes(connection, "gate", from_us, to_us, "large") == ([], None)
