"""The list of cameras."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from cloud_service.database.opening import open_database
from cloud_service.viewer.pages.cameras import ListedCamera, cameras_of
from tests.cloud_service.parts import close_stores
from tests.cloud_service.viewer.house import House, add_camera

LAST = 1_790_000_000_000_000


@pytest.fixture
def database(each_database_url: str) -> Iterator[Engine]:
    engine = open_database(each_database_url)
    yield engine
    close_stores(engine)


def test_each_visitor_finds_the_cameras_that_they_see(house: House) -> None:
    def names(visitor: str) -> list[str]:
        return re.findall(r'<th scope="row"><a [^>]+>([^<]+)</a></th>', house.logged_in(visitor).get("/cameras").text)

    assert names("anna") == names("otto") == ["cellar", "gate", "yard-1"]
    assert names("vera") == ["gate", "yard-1"]


def test_the_last_frame_is_told_in_utc_and_never_where_there_is_none(house: House) -> None:
    page = house.logged_in("anna").get("/cameras").text
    assert '<time datetime="2026-09-21T14:13:20.250Z">2026-09-21 14:13:20 UTC</time>' in page
    assert re.search(r"cellar</a></th><td>never</td>", page)


def test_a_camera_of_the_list_leads_to_its_last_frame(house: House) -> None:
    page = house.logged_in("anna").get("/cameras").text
    assert 'href="/cameras/gate?t=2026-09-21T14:13:20.250Z"' in page
    assert 'href="/cameras/cellar"' in page


def test_a_list_takes_two_queries_and_finds_the_newest_segment(database: Engine, tmp_path: Path) -> None:
    url = database.url.render_as_string(hide_password=False)
    for number in range(3):
        add_camera(tmp_path, f"camera-{number}", LAST + number, url)
    add_camera(tmp_path, "silent", None, url)
    asked: list[str] = []
    event.listen(database, "before_cursor_execute", lambda *args: asked.append(args[2]))
    listed = cameras_of(database)
    assert len([sql for sql in asked if sql.startswith("SELECT")]) == 2
    assert listed[0] == ListedCamera("camera-0", LAST, 12_345_678, 123_456_789)
    assert [camera.last_us for camera in listed] == [LAST, LAST + 1, LAST + 2, None]


def test_no_query_of_it_reads_all_segments(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'cloud.db'}")
    asked: list[tuple[str, object]] = []
    event.listen(engine, "before_cursor_execute", lambda *args: asked.append((args[2], args[3])))
    cameras_of(engine)
    with engine.connect() as connection:
        plans = [
            str(row)
            for sql, values in asked
            if sql.startswith("SELECT")
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)  # type: ignore[arg-type]
        ]
    engine.dispose()
    assert any("SEARCH record_segments" in plan for plan in plans)
    assert not any("SCAN record_segments" in plan or "TEMP B-TREE" in plan for plan in plans)
