"""Whatever SearchService is asked, the database walks indexes: it reads no whole table, and sorts nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

import cloud_service
from cloud_service.database.opening import open_database
from cloud_service.database.statements import walking
from cloud_service.sightings.page_cursor import PageCursor
from cloud_service.sightings.relative_boxes import WHOLE, RelativeBox
from cloud_service.sightings.search import SightingQuery, search_sightings
from cloud_service.sightings.timeline import list_boxes, read_activity
from tests.cloud_service.sightings.scenes import START_US, box, committed, fold, frame_event, segment
from tests.databases import KINDS, url_of_new

SIGHTINGS, SEGMENTS, CAMERAS = 60_000, 30_000, 16
STEP_US = 3_000_000
END_US = START_US + SIGHTINGS * STEP_US
MIDDLE_US = START_US + SIGHTINGS // 2 * STEP_US
CORNER = RelativeBox(0, 0, WHOLE // 9, WHOLE // 9)
FAR_CORNER = RelativeBox(WHOLE - 9, WHOLE - 9, WHOLE, WHOLE).pack()
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < {count} - 1)"
OF_CAMERA = f"'camera-' || (i % {CAMERAS})"
OF_CLASS = "CASE WHEN i % 5000 = 0 THEN 'bear' WHEN i % 3 = 0 THEN 'car' WHEN i % 7 = 0 THEN 'dog' ELSE 'person' END"
OF_MODEL = "CASE WHEN i % 200 = 0 THEN 'large' ELSE 'tiny' END"
FILL = {
    "sightings": (
        SIGHTINGS,
        f"""(camera, class_name, model, start_us, end_us, first_segment, last_segment, frames, best_score, best_us,
        best_epoch, best_sequence, best_box, last_box, union_left, union_top, union_right, union_bottom) SELECT
        {OF_CAMERA}, {OF_CLASS}, {OF_MODEL}, {START_US} + i * {STEP_US},
        {START_US} + i * {STEP_US} + i * 7919 % 60 * 1000000, 1000 + i / 32, 1002 + i / 32, 9,
        0.3 + i * 7919 % 700 / 1000.0, {START_US} + i * {STEP_US}, 7, i, :box, :box,
        i * 31 % 60000, i * 37 % 60000, i * 31 % 60000 + 5000, i * 37 % 60000 + 5000""",
    ),
    "boxes": (
        SEGMENTS,
        f"""(camera, number, model, epoch, first_us, last_us, width, height, frames, boxes, data) SELECT
        {OF_CAMERA}, 1000 + i / {CAMERAS}, {OF_MODEL}, 7, {START_US} + i / {CAMERAS} * 10000000,
        {START_US} + i / {CAMERAS} * 10000000 + 9500000, 640, 480, 20, 100, :data""",
    ),
    "activity": (
        SIGHTINGS,
        f"""(camera, seconds, start_us, class_name, model, frames, boxes, best_score) SELECT
        'camera-' || (i % 4), 60, {START_US} + i / 16 * 60000000,
        CASE i / 4 % 4 WHEN 0 THEN 'car' WHEN 1 THEN 'dog' WHEN 2 THEN 'person' ELSE 'bear' END, 'tiny', 9, 9, 0.5""",
    ),
    "viewer_seen": (
        SIGHTINGS // 2,
        f"(user_name, sighting, start_us) SELECT 'vera', 2 * i + 1, {START_US} + 2 * i * {STEP_US}",
    ),
    "record_activity": (
        SIGHTINGS,
        f"(camera, seconds, start_us, bytes) SELECT {OF_CAMERA}, 60, {START_US} + i / {CAMERAS} * 60000000, 30000",
    ),
    "frames": (
        SEGMENTS,
        f"""(id, camera, epoch, sequence, capture_us, model) SELECT
        i + 1000000, {OF_CAMERA}, 7, i, {START_US} + i / {CAMERAS} * 500000, 'tiny'""",
    ),
    "detections": (
        2 * SEGMENTS,
        """(frame_id, class_name, score, "left", "top", "right", "bottom") SELECT
        1000000 + i / 2, 'person', 0.5, 1, 1, 50, 50""",
    ),
}
"""Rows of each table, and how they come about."""
NEVER_ANALYSED = "sqlite without statistics"
"""As a cloud's is: nothing there ever asks for them. PostgreSQL's own autovacuum does."""


@pytest.fixture(scope="module", params=[*KINDS, NEVER_ANALYSED])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A database with so many rows that reading all of a table costs more than walking an index."""
    database = open_database(url_of_new(request.param.split()[0], request, tmp_path_factory.mktemp("plans")))
    committed(database, [frame_event(n, box(20 * n)) for n in range(1, 21)])
    fold(database, segment(1))
    with database.begin() as connection:
        data = connection.scalar(text("SELECT data FROM boxes"))
        for table, (count, rows) in FILL.items():
            values = {name: value for name, value in {"box": FAR_CORNER, "data": data}.items() if f":{name}" in rows}
            insert, select = rows.split("SELECT", 1)
            connection.execute(
                text(f"INSERT INTO {table} {insert} {NUMBERS.format(count=count)} SELECT {select} FROM n"), values
            )
    if request.param != NEVER_ANALYSED:
        with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
    yield database
    database.dispose()


SEARCHES = {
    "everything": SightingQuery(),
    "a class": SightingQuery(classes=("car",)),
    "a rare class": SightingQuery(classes=("bear",)),
    "a class nobody saw": SightingQuery(classes=("cow",)),
    "a camera": SightingQuery(cameras=("camera-3",)),
    "a camera that is not": SightingQuery(cameras=("nowhere",)),
    "a class of a camera": SightingQuery(cameras=("camera-3",), classes=("dog",)),
    "some of both": SightingQuery(cameras=("camera-1", "camera-4"), classes=("bear", "car", "person")),
    "all cameras by name": SightingQuery(cameras=tuple(f"camera-{n}" for n in range(CAMERAS))),
    "as many pairs as branches": SightingQuery(
        cameras=tuple(f"camera-{n}" for n in range(4)), classes=("bear", "car", "dog", "person")
    ),
    "more cameras than classes": SightingQuery(
        cameras=tuple(f"camera-{n}" for n in range(40)), classes=("bear", "car", "dog")
    ),
    "more classes than cameras": SightingQuery(
        cameras=("camera-1", "camera-2"), classes=("car", *(f"class-{n}" for n in range(50)))
    ),
    "many of both": SightingQuery(
        cameras=tuple(f"camera-{n}" for n in range(40)), classes=("car", *(f"class-{n}" for n in range(50)))
    ),
    "a score": SightingQuery(least_score=0.7),
    "a score that few have": SightingQuery(least_score=0.995),
    "a score that none has": SightingQuery(least_score=1.0),
    "a model": SightingQuery(model="large"),
    "a model that none is": SightingQuery(model="none"),
    "what somebody has not seen": SightingQuery(unseen_by="vera"),
    "a class that somebody has not seen": SightingQuery(unseen_by="vera", classes=("car", "dog")),
    "a duration": SightingQuery(least_us=50_000_000),
    "a time": SightingQuery(from_us=MIDDLE_US, to_us=MIDDLE_US + 3_600_000_000),
    "a short time": SightingQuery(from_us=MIDDLE_US, to_us=MIDDLE_US + 10_000_000),
    "from a time on": SightingQuery(from_us=START_US + 1000 * STEP_US),
    "up to a time": SightingQuery(to_us=MIDDLE_US),
    "a region": SightingQuery(region=CORNER),
    "region, class and time": SightingQuery(
        classes=("person",), region=CORNER, from_us=MIDDLE_US, to_us=END_US, least_score=0.5
    ),
    "all of it": SightingQuery(
        cameras=("camera-1", "camera-3"), classes=("car", "person"), least_score=0.8, from_us=MIDDLE_US, to_us=END_US,
        region=CORNER, least_us=20_000_000, model="tiny",
    ),
}  # fmt: skip
CURSORS = {"first page": None, "deep page": PageCursor(MIDDLE_US, SIGHTINGS // 2)}


@contextmanager
def noted(database: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Statements that a block asks the database, with their values."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        statements.append((statement, values))

    event.listen(database, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(database, "before_cursor_execute", note)


def plan(database: Engine, statement: str, values: Any = ()) -> str:
    asking = "EXPLAIN QUERY PLAN " if database.dialect.name == "sqlite" else "EXPLAIN "
    with walking(database) as connection:
        return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(asking + statement, values))


def breaches(told: str) -> list[str]:
    """Lines of a plan that read a whole table or index, or sort."""
    scan = r"^SCAN (?!\(?(subquery|anon_|n\b|\d))"
    in_order = r"^SCAN sightings USING (COVERING )?INDEX ix_sightings_start$"
    wrong = [scan, r"Seq Scan on ", "USE TEMP B-TREE", r"\bSort  \(cost"]
    lines = [line for line in told.splitlines() if any(re.search(pattern, line) for pattern in wrong)]
    return [line for line in lines if not re.search(in_order, line)]


def asked_wrong(database: Engine, statements: list[tuple[str, Any]]) -> list[str]:
    return [
        f"{statement}\n{told}"
        for statement, values in statements
        if breaches(told := plan(database, statement, values))
    ]


@pytest.mark.parametrize("cursor", CURSORS)
@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_reads_no_whole_table_and_sorts_nothing(filled: Engine, name: str, cursor: str) -> None:
    with noted(filled) as statements, walking(filled) as connection:
        counted = cursor == "first page"
        search_sightings(connection, SEARCHES[name], 50, CURSORS[cursor], counted=counted, seen_by="vera")
    if cursor == "first page":
        assert any("FROM boxes" in statement for statement, _ in statements) == (SEARCHES[name].region is not None)
    assert statements
    assert asked_wrong(filled, statements) == []


@pytest.mark.parametrize("class_name", ["", "car"])
@pytest.mark.parametrize("minutes", [10, 2000])
def test_nor_does_what_is_drawn_along_time(filled: Engine, minutes: int, class_name: str) -> None:
    end_us = START_US + minutes * 60_000_000
    with noted(filled) as statements, walking(filled) as connection:
        assert read_activity(connection, "camera-1", class_name, 60, START_US, end_us)[0]
    assert asked_wrong(filled, statements) == []


@pytest.mark.parametrize("model", ["", "tiny"])
@pytest.mark.parametrize("seconds", [10, 600, 86_400])
def test_nor_do_the_boxes_of_a_stretch_of_time(filled: Engine, seconds: int, model: str) -> None:
    with noted(filled) as statements, walking(filled) as connection:
        assert list_boxes(connection, "camera-1", START_US, START_US + seconds * 1_000_000, model)[0]
    assert asked_wrong(filled, statements) == []


def test_a_scan_and_a_sort_would_be_found(filled: Engine) -> None:
    for words in (
        "SELECT * FROM sightings WHERE frames = 1",
        "SELECT * FROM sightings WHERE camera = 'camera-1' ORDER BY best_us",
    ):
        assert breaches(plan(filled, words))


def test_no_code_skips_rows_by_counting_them() -> None:
    folder = Path(cloud_service.__file__).parent
    named = [path for path in folder.rglob("*.py") if re.search(r"\.offset\(|\bOFFSET \d", path.read_text())]
    assert named == []
