"""What the page of the wall shows beside the pictures: groups of cameras, and the newest sightings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, insert

from cloud_service.database.opening import database_engine, open_database
from cloud_service.database.sightings_tables import SightingRow
from cloud_service.database.statements import transaction
from cloud_service.sightings.relative_boxes import RelativeBox
from cloud_service.viewer.accounts.roles import EVERY_CAMERA, Role, Visitor
from cloud_service.viewer.live.wall import WallPage
from cloud_service.viewer.settings import CameraGroup
from cloud_service.viewer.web.static_files import StaticFiles
from cloud_service.viewer.web.templates import Templates
from tests.cloud_service.parts import close_stores
from tests.cloud_service.viewer.house import House, add_camera, add_user, make_database, running_viewer

GROUPS = [
    {"name": "Yard", "cameras": ["yard-*"]},
    {"name": "Cellar", "cameras": ["cellar"]},
    {"name": "<b>All & more</b>", "cameras": ["*"]},
]
START_US = 1_790_000_000_000_000


def add_sightings(engine: Engine, *cameras: str) -> None:
    """One a second, of the cameras in turn."""
    box = RelativeBox(0, 0, 6000, 6000).pack()
    rows = [
        {
            "camera": camera,
            "class_name": "person",
            "model": "tiny",
            "start_us": START_US + number * 1_000_000,
            "end_us": START_US + (number + 2) * 1_000_000,
            "first_segment": 1,
            "last_segment": 1,
            "frames": 20,
            "best_score": 0.5,
            "best_us": START_US + (number + 1) * 1_000_000,
            "best_epoch": 7,
            "best_sequence": number,
            "best_box": box,
            "last_box": box,
            "union_left": 0,
            "union_top": 0,
            "union_right": 6000,
            "union_bottom": 6000,
        }
        for number, camera in enumerate(cameras)
    ]
    with transaction(engine) as connection:
        connection.execute(insert(SightingRow), rows)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("wall")
    make_database(folder)
    for name in ("cellar", "gate", "yard-1", "yard-2"):
        add_camera(folder, name, last_us=START_US)
    engine = database_engine(f"sqlite:///{folder / 'cloud.db'}")
    add_sightings(engine, *(["yard-1", "cellar", "gate"] * 10))
    close_stores(engine)
    add_user(folder, "anna", Role.ADMIN)
    add_user(folder, "vera", Role.VIEWER, "gate", "yard-*")
    with running_viewer(folder, {"groups": GROUPS}) as house:
        yield house


def tiles(page: str) -> list[str]:
    return re.findall(r'<li class="tile" data-camera="([^"]+)"', page)


def strip(page: str) -> list[tuple[str, str]]:
    return re.findall(r'<a href="/cameras/([^"?]+)\?t=([^"]+)">', page)


def groups(page: str) -> list[str]:
    return re.findall(r'<li><a href="/\?group=[^"]*"[^>]*>([^<]*)</a>', page)


def test_a_group_shows_its_cameras_and_their_sightings_alone(grouped: House) -> None:
    anna = grouped.logged_in("anna")
    page = anna.get("/").text
    assert tiles(page) == ["cellar", "gate", "yard-1", "yard-2"]
    assert groups(page) == ["Yard", "Cellar", "&lt;b&gt;All &amp; more&lt;/b&gt;"]
    yard = anna.get("/?group=Yard").text
    assert tiles(yard) == ["yard-1", "yard-2"]
    assert {camera for camera, _ in strip(yard)} == {"yard-1"}
    assert strip(anna.get("/newest?group=Yard").text) == strip(yard)
    assert tiles(anna.get("/?group=%3Cb%3EAll%20%26%20more%3C%2Fb%3E").text) == tiles(page)


def test_the_strip_has_the_twenty_newest_each_leading_to_its_moment(grouped: House) -> None:
    found = strip(grouped.logged_in("anna").get("/").text)
    assert len(found) == 20
    assert found[:2] == [("gate", "2026-09-21T14:13:49.000Z"), ("cellar", "2026-09-21T14:13:48.000Z")]
    assert [at for _, at in found] == sorted((at for _, at in found), reverse=True)


def test_who_sees_some_cameras_sees_their_groups_and_sightings_alone(grouped: House) -> None:
    vera = grouped.logged_in("vera")
    page = vera.get("/").text
    assert "Cellar" not in groups(page)
    assert tiles(page) == ["gate", "yard-1", "yard-2"]
    assert {camera for camera, _ in strip(page)} == {"gate", "yard-1"}
    assert len(strip(page)) == 20
    hidden = vera.get("/?group=Cellar").text
    assert (tiles(hidden), strip(hidden)) == ([], [])
    assert strip(vera.get("/newest?group=Cellar").text) == []


@pytest.mark.parametrize("path", ["/?group=nosuch", "/newest?group=%00", "/?group=yard", f"/?group={'x' * 5000}"])
def test_a_group_that_there_is_not_is_not_found(grouped: House, path: str) -> None:
    assert grouped.logged_in("anna").get(path).status_code == 404


@pytest.mark.parametrize("cameras", [EVERY_CAMERA, ("yard-*",)], ids=str)
def test_the_page_asks_the_database_two_things(
    each_database_url: str, tmp_path: Path, cameras: tuple[str, ...]
) -> None:
    engine = open_database(each_database_url)
    names = [f"yard-{number}" for number in range(16)]
    for name in names:
        add_camera(tmp_path, name, START_US, each_database_url)
    add_sightings(engine, *names)
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    visitor = Visitor("vera", Role.VIEWER, cameras, Role.VIEWER.rights, "")
    page = WallPage(engine, Templates(StaticFiles(), ()), [CameraGroup(name="Yard", cameras=["yard-*"])])
    with engine.connect() as connection:
        shown = page._read(connection, visitor, "Yard" if cameras == EVERY_CAMERA else "")
    assert len([sql for sql in asked if "SELECT" in sql]) == 2
    assert (len(shown.cameras), len(shown.newest)) == (16, 16)
    close_stores(engine)
