"""A segment that is rendered again may begin with another frame, and so lie elsewhere: nothing of it is left behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.archive.writer import VideoSegment
from tests.cloud_service.parts import FRAME_US
from tests.cloud_service.retention.world import World


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def world(tmp_path: Path, database: Engine) -> World:
    world = World(tmp_path, database)
    world.seal(segments=2)
    world.add_video(1)
    world.add_video(2)
    return world


def render(world: World, start_us: int) -> VideoSegment:
    """The first segment's video is written and entered, as if its first frame was captured then."""
    (before,) = [of for of in VideoCatalogue(world.database).list("gate", None, None) if of.number == 1]
    stem = f"gate/2026-09-21/14/{start_us}-000001"
    video = replace(
        before,
        start_us=start_us,
        path=f"{stem}.mp4",
        bytes=5000,
        disk_bytes=world.storage.put(f"{stem}.mp4", bytes(5000)),
        thumbnail_path=f"{stem}.jpg",
        thumbnail_bytes=500,
        thumbnail_disk_bytes=world.storage.put(f"{stem}.jpg", bytes(500)),
    )
    VideoCatalogue(world.database).add_part(video)
    return video


def paths(world: World) -> set[str]:
    assert world.storage.folder is not None
    return {str(path.relative_to(world.storage.folder)) for path in world.storage.folder.rglob("*-00000*.*")}


def test_the_files_of_before_go_with_the_next_pass(world: World) -> None:
    before = paths(world)
    start = world.segment(1).first_capture_us
    again = render(world, start + FRAME_US)
    assert paths(world) > before
    world.deleter.collect()
    assert {again.path, again.thumbnail_path} < paths(world)
    assert len(paths(world)) == len(before) == 4
    assert world.usage() == world.on_disk()


def test_files_that_are_written_again_before_the_pass_stay(world: World) -> None:
    start = world.segment(1).first_capture_us
    first = render(world, start + FRAME_US)
    render(world, start + 2 * FRAME_US)
    render(world, start + FRAME_US)
    world.deleter.collect()
    assert {first.path, first.thumbnail_path} < paths(world)
    assert len(paths(world)) == 4
    assert world.usage() == world.on_disk()
