"""Deleting leaves nothing half gone, whenever it is cut short, and what is gone stays known."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from cloud_service.database.opening import open_database
from cloud_service.database.usage import Tier
from cloud_service.retention.execution import Step
from cloud_service.retention.items import Reason
from cloud_service.store import Position
from icm.errors import FrameDeletedError, ReferenceMissingError, StorageError
from tests.cloud_service.parts import EPOCH, close_stores
from tests.cloud_service.retention.world import Crash, World, by_number
from tests.cloud_service.store.test_store import append, files, read_all

R, V, T = Tier.RECORDS, Tier.VIDEO, Tier.THUMBNAILS


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def world(tmp_path: Path, database: Engine) -> World:
    """Five segments of a camera."""
    world = World(tmp_path, database)
    world.seal(segments=5)
    return world


def test_what_is_deleted_is_a_gap_to_readers_and_takes_nothing_any_more(world: World) -> None:
    world.delete_numbers(1, 3)
    assert world.numbers() == [2, 4, 5]
    assert read_all(world.store) == [*range(11, 21), *range(31, 51)]
    assert len(files(world.root)) == 3
    assert world.usage() == world.on_disk()
    summary = world.store.cameras()[0]
    assert (summary.records, summary.first_capture_us) == (30, world.segment(2).first_capture_us)
    assert summary.bytes == sum(path.stat().st_size for path in files(world.root))
    assert world.tombstones() == {1: "max_age", 3: "max_age"}
    assert world.rows("garbage") == 0


def test_a_deleted_frame_is_said_to_be_deleted_when_and_by_which_rule_also_after_a_restart(world: World) -> None:
    world.delete_numbers(2)
    for _ in range(2):
        with pytest.raises(FrameDeletedError, match=r"frame 15 .* on 2026-09-21 by rule records.max_age_seconds 5"):
            world.store.find("gate", EPOCH, 15)
        world.restart()


def test_what_an_edge_sends_again_stays_known_and_numbers_do_not_come_back(world: World) -> None:
    world.delete_numbers(1, 2, 3, 4, 5)
    for _ in range(2):
        assert append(world.store, 7, 50) == [False, False]
        assert world.store.highest("gate", EPOCH) == 50
        assert world.store.names() == []
        world.restart()
    world.seal()
    assert world.numbers() == [6]


def test_all_of_it_is_known_too_where_the_database_is_made_anew(tmp_path: Path, database: Engine) -> None:
    world = World(tmp_path, database)
    world.seal(segments=3)
    world.delete_numbers(2, 3)
    world.store.close()
    (tmp_path / "other").mkdir()
    other = open_database(f"sqlite:///{tmp_path / 'other' / 'cloud.db'}")
    again = World(tmp_path, other)
    assert again.numbers() == [1]
    assert append(again.store, 15) == [False]
    again.sequences["gate"] = 30
    again.seal()
    assert again.numbers() == [1, 4]
    with pytest.raises(FrameDeletedError, match=r"by rule records\.max_age_seconds 5"):
        again.store.find("gate", EPOCH, 15)
    close_stores(other)


def test_a_note_of_what_was_deleted_that_lost_a_bit_is_told_and_set_aside_by_the_next(world: World) -> None:
    world.delete_numbers(1)
    (note,) = (world.root / "gate" / "deleted").iterdir()
    note.write_text(note.read_text().replace("1-10", "1-90"))
    world.restart()
    assert "is damaged" in world.store.unreadable["gate"][0]
    assert not world.store.holds("gate", EPOCH, 60)
    world.delete_numbers(2)
    assert sorted(path.name for path in note.parent.iterdir()) == [note.name, f"{note.name}.damaged"]


@pytest.mark.parametrize("last", list(Step))
def test_a_crash_after_any_step_leaves_all_of_it_or_nothing(world: World, last: Step) -> None:
    world.add_keyframe(1)
    world.add_video(1)
    world.add_video(2)

    def die(step: Step) -> None:
        if step is last:
            raise Crash

    world.on_step = die
    with pytest.raises(Crash):
        world.delete(records={"max_age_seconds": 0}, now_us=world.segment(2).kept_from_us + 1)
    world.on_step = lambda step: None
    world.open()
    with suppress(StorageError):
        world.deleter.collect()
    assert world.rows("garbage") == 0
    assert world.usage() == world.on_disk()
    assert world.numbers() == ([1, 2, 3, 4, 5] if last is Step.NOTED else [3, 4, 5])
    assert list(world.tombstones()) == ([] if last is Step.NOTED else [1, 2])
    assert append(world.store, 1, 20) == [False, False]
    world.delete(records={"max_age_seconds": 0}, now_us=world.clock.now_us() + 1)
    assert world.on_disk() == {}
    assert list(world.tombstones()) == [1, 2, 3, 4, 5]


def test_empty_folders_go_and_those_that_hold_something_stay(tmp_path: Path, database: Engine) -> None:
    world = World(tmp_path, database)
    world.seal()
    world.clock.advance(3600)
    world.seal(segments=2)
    hours = [path.parent for path in files(world.root)[:2]]
    world.delete_numbers(1, 2)
    assert [hour.exists() for hour in hours] == [False, True]


def test_keyframes_go_with_their_records_unless_stills_are_to_stay(world: World) -> None:
    one, two = world.add_keyframe(1), world.add_keyframe(2)
    world.delete_numbers(1)
    world.delete_numbers(2, stills=True)
    assert [one.exists(), two.exists()] == [False, True]
    assert world.usage() == world.on_disk()
    world.restart()
    assert world.usage() == world.on_disk()
    assert by_number(world.delete(records={"max_age_seconds": 0}, now_us=world.segment(3).kept_from_us)) == [
        (Tier.STILLS, 2, Reason.MAX_AGE)
    ]
    assert not two.exists()
    assert world.usage() == world.on_disk()


def test_what_was_found_in_records_goes_with_them_and_nothing_else(world: World) -> None:
    world.detect(1, "gate", ("person", 0.9))
    world.detect(2)
    world.detect(3, "gate", ("cat", 0.9))
    world.delete_numbers(1, 2)
    assert (world.rows("frames"), world.rows("detections"), world.rows("empty_frames")) == (10, 10, 0)
    world.detect(4)
    world.detect(5)
    world.delete_numbers(4)
    assert world.rows("empty_frames") == 1


def test_video_and_thumbnails_go_alone_and_do_not_outlive_records_that_are_too_old(world: World) -> None:
    for number in (1, 2, 3):
        world.add_video(number)
    at = {number: world.segment(number).kept_from_us for number in (1, 2, 3)}
    gone = world.delete(video={"max_age_seconds": 0}, now_us=at[2])
    assert by_number(gone) == [(V, 1, Reason.MAX_AGE), (V, 2, Reason.MAX_AGE)]
    assert world.usage() == world.on_disk()
    world.delete(records={"max_age_seconds": 0}, now_us=at[3])
    assert world.usage() == world.on_disk()
    assert world.numbers() == [3, 4, 5]


def test_a_camera_whose_clock_is_far_ahead_keeps_no_video_beyond_its_records(world: World) -> None:
    world.add_video(1)
    with world.database.begin() as connection:
        connection.execute(text("UPDATE video_segments SET start_us = start_us + 900000000000000"))
    world.delete(records={"max_age_seconds": 0}, now_us=world.segment(2).kept_from_us)
    assert {key.tier for key in world.on_disk()} == {R}
    assert world.usage() == world.on_disk()


def test_after_the_newest_segment_went_the_next_record_must_stand_alone(world: World) -> None:
    assert world.store.newest("gate", EPOCH) == 50
    world.delete_numbers(5)
    assert world.store.newest("gate", EPOCH) == 0
    world.restart()
    assert world.store.newest("gate", EPOCH) == 40


def test_a_reader_that_stands_in_a_segment_that_goes_goes_on_behind_it(world: World) -> None:
    chunk = world.store.read("gate", Position(1, 0), 3)
    assert chunk is not None
    world.delete_numbers(1)
    following = world.store.read("gate", chunk.next, 3)
    assert following is not None
    assert [each.sequence for each in following.records] == [11, 12, 13]
    assert world.store.bytes_after("gate", Position(0, 0)) == sum(path.stat().st_size for path in files(world.root))
    with suppress(ReferenceMissingError):
        assert world.store.find("gate", EPOCH, 12).records[-1].sequence == 12


@pytest.fixture
def yesterday(tmp_path: Path) -> Iterator[tuple[World, Path]]:
    """A world on SQLite, and a copy of its database from before three of its segments were deleted."""
    database = open_database(f"sqlite:///{tmp_path / 'cloud.db'}")
    world = World(tmp_path, database)
    world.seal(segments=5)
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(tmp_path / "cloud.db")) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    world.delete_numbers(1, 2, 4)
    yield world, copy
    close_stores(database)


def test_a_database_of_yesterday_takes_what_was_deleted_since_for_deleted_and_what_is_new_for_new(
    yesterday: tuple[World, Path], tmp_path: Path
) -> None:
    world, copy = yesterday
    world.seal()
    world.store.close()
    database = open_database(f"sqlite:///{copy}")
    again = World(tmp_path, database)
    assert again.numbers() == [3, 5, 6]
    assert again.tombstones() == {1: "max_age", 2: "max_age", 4: "max_age"}
    with database.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM record_segments WHERE state <> 'whole'")) == 0
    assert again.usage() == again.on_disk()
    close_stores(database)
