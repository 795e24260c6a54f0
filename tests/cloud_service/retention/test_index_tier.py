"""What detectors found may go before the records, which then are never taken for quiet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import Engine

from cloud_service.database.usage import Tier
from cloud_service.events.store import EventStore
from cloud_service.holds.book import Hold
from cloud_service.retention.items import Reason
from cloud_service.retention.view import DatabaseView
from cloud_service.retention_settings import RetentionSettings
from cloud_service.sightings.folding import fold_segment
from cloud_service.sightings.relative_boxes import PictureSize
from icm.errors import FrameDeletedError
from icm.frame_id import FrameId
from tests.cloud_service.parts import EPOCH
from tests.cloud_service.retention.test_loop import Running, older_than
from tests.cloud_service.retention.world import World, by_number, item_of

TABLES = ("boxes", "box_blocks", "segment_classes", "sightings", "activity")


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def world(tmp_path: Path, database: Engine) -> World:
    """Four segments of a second each, an hour apart, with a person in each, folded."""
    world = World(tmp_path, database)
    for number in (1, 2, 3, 4):
        world.seal()
        world.detect(number, "gate", ("person", 0.9))
        with database.begin() as connection:
            fold_segment(connection, world.segment(number), PictureSize(64, 48))
        world.clock.advance(3600)
    return world


def limited(world: World, number: int, **more: Any) -> dict[str, Any]:
    """Settings by which what was found before a segment is too old."""
    return {"index": {"max_age_seconds": older_than(world, number) + 1}, **more}


def test_what_was_found_goes_by_its_own_age_and_the_records_stay(world: World) -> None:
    before = {name: world.rows(name) for name in TABLES}
    gone = world.delete(**limited(world, 3))
    assert by_number(gone) == [(Tier.INDEX, 1, Reason.MAX_AGE), (Tier.INDEX, 2, Reason.MAX_AGE)]
    assert gone[0].rule.startswith("index.max_age_seconds")
    assert world.numbers() == [1, 2, 3, 4]
    assert world.tombstones() == {}
    assert {name: world.rows(name) for name in TABLES[:4]} == {name: before[name] // 2 for name in TABLES[:4]}
    assert world.usage() == world.on_disk()
    assert by_number(world.delete(**limited(world, 3))) == []


def test_when_the_records_go_later_nothing_is_counted_twice(world: World) -> None:
    world.delete(**limited(world, 4))
    world.delete(records={"max_age_seconds": 0}, now_us=world.clock.now_us() + 1)
    assert world.numbers() == []
    assert {name: world.rows(name) for name in (*TABLES, "record_activity")} == dict.fromkeys(
        (*TABLES, "record_activity"), 0
    )


def test_records_of_which_nobody_knows_any_more_what_was_found_are_never_quiet(world: World) -> None:
    quiet = {"quiet": {"max_age_seconds": 1}, "keep": [{"classes": ["cat"], "before_seconds": 1, "after_seconds": 1}]}
    assert (Tier.RECORDS, 1, Reason.QUIET) in by_number(list(world.planning(**quiet).planned()))
    world.delete(**limited(world, 4))
    view = DatabaseView(world.database, world.root)
    for number, known in ((2, False), (3, False), (4, True)):
        content = view.content(item_of(world.segment(number)), 1_000_000, 1_000_000)
        assert (content.known, content.detected) == (known, True)
    assert by_number(world.delete(**quiet)) == [(Tier.RECORDS, 4, Reason.QUIET)]


def test_what_keep_might_have_kept_stays_as_long_as_it_says(world: World) -> None:
    hours = 3600
    told = {
        "records": {"max_age_seconds": 1},
        "keep": [{"classes": ["cat"], "before_seconds": 1, "after_seconds": 1, "max_age_seconds": 100 * hours}],
    }
    world.delete(**limited(world, 3))
    assert [number for _, number, _ in by_number(world.delete(**told))] == [3, 4]
    world.clock.advance(100 * hours)
    assert [number for _, number, _ in by_number(world.delete(**told))] == [1, 2]


def test_what_is_held_keeps_what_was_found_and_overdue_bytes_are_told(world: World) -> None:
    running = Running(world)
    at = world.segment(1).first_capture_us
    running.holds.add(Hold("", ("gate",), at, at + 1, "anna", "theft", 1))
    running.open(**limited(world, 3))
    assert running.retention.state.waiting
    running.retention.apply()
    assert running.run() == [2]
    assert running.retention.state.deleted_items == {("gate", "index", "max_age"): 1}
    assert running.retention.state.overdue_bytes["index"] == 0


def test_who_asks_for_what_was_found_hears_that_it_was_deleted_while_the_frame_is_there(world: World) -> None:
    events = EventStore(world.database)
    world.delete(**limited(world, 3))
    for sequence in (1, 20):
        assert events.get(FrameId("gate", EPOCH, sequence)) is None
        with pytest.raises(FrameDeletedError, match=r"by rule index\.max_age_seconds; the frame is still there"):
            events.check_not_forgotten(FrameId("gate", EPOCH, sequence))
    assert events.get(FrameId("gate", EPOCH, 21)) is not None
    events.check_not_forgotten(FrameId("gate", EPOCH, 21))
    world.store.find("gate", EPOCH, 1)


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"index": {"max_age_seconds": 5}, "keep": [{}], "quiet": {"max_age_seconds": 9}}, "quiet.max_age_seconds 9"),
        (
            {"index": {"max_age_seconds": 5}, "keep": [{"max_age_seconds": 99}], "records": {"max_age_seconds": 9}},
            "records.max_age_seconds 9",
        ),
        (
            {
                "keep": [{}],
                "quiet": {"max_age_seconds": 9},
                "cameras": [{"name": "gate", "index": {"max_age_seconds": 5}}],
            },
            "cameras.gate.index.max_age_seconds is 5",
        ),
    ],
)
def test_what_keep_asks_for_must_not_be_gone_by_then(told: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        RetentionSettings.model_validate(told)
    RetentionSettings.model_validate(told | {"keep": []})
