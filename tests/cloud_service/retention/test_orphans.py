"""Files of the archive that no row knows go only where nothing speaks for them, and never many at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, text

from cloud_service.archive.orphans import MOST_ORPHANS
from cloud_service.database.tables import VideoSegmentRow
from cloud_service.holds.book import Hold
from cloud_service.retention.orphans import EVERY_SECONDS, FIRST_SECONDS
from cloud_service.store.segment import segment_stem
from tests.cloud_service.parts import START_US
from tests.cloud_service.retention.test_loop import Running
from tests.cloud_service.retention.world import World


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def world(tmp_path: Path, database: Engine) -> World:
    """Three segments of a second each, with their videos and thumbnails."""
    world = World(tmp_path, database)
    world.seal(segments=3)
    for number in (1, 2, 3):
        world.add_video(number)
    return world


def put(world: World, path: str, age_seconds: float = 2 * FIRST_SECONDS) -> Path:
    """A file in the archive that is so old when the first round begins."""
    world.storage.put(path, bytes(9000))
    assert world.storage.folder is not None
    whole = world.storage.folder / path
    at = world.clock.now_us() / 1e6 + FIRST_SECONDS - age_seconds
    os.utime(whole, (at, at))
    return whole


def stray(world: World, number: int, ending: str = "mp4", camera: str = "gate") -> str:
    """The path that a segment's video would have, had it begun a little later."""
    return f"{segment_stem(camera, number, START_US + 5)}.{ending}"


def sweep(running: Running) -> None:
    """A whole round."""
    running.world.clock.advance(FIRST_SECONDS + 1)
    running.run()


def test_an_orphan_of_a_known_or_a_deleted_segment_goes_and_is_counted_with_its_reason(world: World) -> None:
    world.delete_numbers(1)
    orphans = [put(world, stray(world, 1)), put(world, stray(world, 2, "jpg"))]
    others = sorted(path for path in (world.root.parent / "archive").rglob("*.*") if path not in orphans)
    running = Running(world)
    running.run()
    assert all(path.exists() for path in orphans)
    sweep(running)
    assert not any(path.exists() for path in orphans)
    assert sorted((world.root.parent / "archive").rglob("*.*")) == others
    state = running.retention.state
    assert state.deleted_items == {("gate", "video", "orphan"): 1, ("gate", "thumbnails", "orphan"): 1}
    assert state.deleted_bytes["gate", "video", "orphan"] >= 9000
    assert state.orphan_files == 0
    assert world.usage() == world.on_disk()


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda world: put(world, stray(world, 2), age_seconds=3000), id="young"),
        pytest.param(lambda world: put(world, stray(world, 9)), id="of-no-known-segment"),
        pytest.param(lambda world: put(world, stray(world, 1, camera="yard")), id="of-another-camera"),
        pytest.param(lambda world: put(world, "gate/2026-09-21/14/holiday.mp4"), id="of-another-name"),
        pytest.param(lambda world: put(world, "gate/notes/20260921T141320000005Z-000002.mp4"), id="elsewhere"),
        pytest.param(lambda world: put(world, f"{stray(world, 2)}.part"), id="of-another-kind"),
    ],
)
def test_what_may_be_somebodys_stays(world: World, harm: Callable[[World], Path]) -> None:
    path = harm(world)
    running = Running(world)
    sweep(running)
    assert path.exists()
    assert not running.retention.state.deleted_items


def test_an_orphan_that_is_held_stays_and_is_told_of(world: World) -> None:
    path = put(world, stray(world, 2))
    running = Running(world)
    running.holds.add(Hold("", ("gate",), START_US, START_US + 10_000_000, "anna", "theft", 1))
    sweep(running)
    assert path.exists()
    assert (running.retention.state.orphan_files, running.retention.state.orphan_bytes >= 9000) == (1, True)


def test_a_video_of_a_segment_that_is_to_be_rendered_again_is_no_orphan_yet(world: World) -> None:
    world.seal()
    path = put(world, stray(world, 4))
    running = Running(world)
    sweep(running)
    assert path.exists()
    world.add_video(4)
    world.clock.advance(EVERY_SECONDS)
    sweep(running)
    assert not path.exists()


def test_many_orphans_are_none_and_all_stay(world: World) -> None:
    with world.database.begin() as connection:
        connection.execute(delete(VideoSegmentRow).where(VideoSegmentRow.number == 2))
    assert world.storage.folder is not None
    for path in world.storage.folder.rglob("*.*"):
        os.utime(path, (START_US / 1e6 - 4000, START_US / 1e6 - 4000))
    more = put(world, stray(world, 1))
    running = Running(world)
    sweep(running)
    assert more.exists()
    assert running.retention.state.orphan_files == 3
    assert MOST_ORPHANS == 1000


def test_while_the_clock_cannot_be_trusted_nobody_looks(world: World) -> None:
    path = put(world, stray(world, 2))
    running = Running(world)
    running.skew = 86_400.0
    sweep(running)
    assert path.exists()
    running.skew = 0.0
    running.run()
    assert not path.exists()


def test_a_round_that_the_database_interrupts_begins_anew(world: World) -> None:
    path = put(world, stray(world, 2))
    running = Running(world)
    with world.database.begin() as connection:
        connection.execute(text("ALTER TABLE tombstones RENAME TO elsewhere"))
    sweep(running)
    assert path.exists()
    assert len(running.problems.lines()) == 1
    with world.database.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO tombstones"))
    running.run()
    assert not path.exists()
    assert running.problems.lines() == []
