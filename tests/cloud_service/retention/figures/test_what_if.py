"""A plan of changed rules: what it says is what retention deletes once they hold, and until then nothing goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from cloud_service.database.usage import Tier
from cloud_service.holds.book import Hold
from cloud_service.retention.figures.what_if import MOST_SECONDS, Deletion, Plan, WhatIf, changed
from cloud_service.retention.items import Reason
from cloud_service.retention.policy import Policy
from cloud_service.retention.view import PAGE, DatabaseView
from cloud_service.retention_settings import RetentionSettings
from icm.errors import BusyError, ConfigError
from icm.service.clock import Clock, ManualClock
from tests.cloud_service.parts import FRAME_US
from tests.cloud_service.retention.test_loop import Running, older_than
from tests.cloud_service.retention.world import World


@pytest.fixture
def world(tmp_path: Path, database: Engine) -> World:
    """Five segments of the gate and three of the yard, of which the first has a video."""
    world = World(tmp_path, database)
    world.seal(segments=5)
    world.seal("yard", segments=3)
    world.add_video(1)
    return world


def asking(running: Running, clock: Clock | None = None) -> WhatIf:
    return WhatIf(
        settings=lambda: running.retention.policy.settings,
        now_us=running.world.clock.now_us,
        database=running.world.database,
        root=running.world.root,
        archive=running.world.storage.folder,
        holds=running.holds,
        clock=clock or running.world.clock,
    )


def deleted(running: Running, changes: list[str]) -> dict[Deletion, tuple[int, int]]:
    """What goes when the changes hold."""
    retention = running.retention
    retention._rules.held = Policy.of(changed(retention.policy.settings, changes))
    retention._take_up()
    found: dict[Deletion, tuple[int, int]] = {}
    for each in retention.run_pass():
        key = Deletion(each.item.camera, each.item.tier, each.reason)
        items, size = found.get(key, (0, 0))
        found[key] = items + 1, size + each.item.disk_bytes
    return dict(sorted(found.items()))


@pytest.mark.parametrize("rule", ["age", "bytes of each camera", "bytes in all", "age of video"])
def test_a_plan_says_what_retention_then_deletes_and_what_is_held_stays(world: World, rule: str) -> None:
    running = Running(world)
    first_us = world.segment(2).first_capture_us + FRAME_US
    running.holds.add(Hold("", ("gate",), first_us, first_us + 1, "anna", "theft", 1))
    size = world.segment(1).disk_bytes
    changes = {
        "age": [f"records.max_age_seconds={older_than(world, 4)}"],
        "bytes of each camera": [f"records.max_bytes_per_camera={2 * size}"],
        "bytes in all": [f"total.max_bytes={3 * size}"],
        "age of video": [f"video.max_age_seconds={older_than(world, 2)}"],
    }[rule]
    before = world.usage()
    plan = asking(running).plan(changes)
    assert (plan.complete, plan.floor_broken) == (True, False)
    assert running.run() == [], "a plan changes no rule"
    assert world.usage() == before
    assert plan.deletions == deleted(running, changes) != {}
    assert 2 in world.numbers()


def test_a_plan_without_changes_is_of_the_rules_that_hold(world: World) -> None:
    running = Running(world)
    assert asking(running).plan([]) == Plan({}, True, False)
    limit = {"records": {"max_age_seconds": older_than(world, 3)}}
    running.retention._rules.held = Policy.of(RetentionSettings.model_validate(limit))
    size = world.segment(1).disk_bytes + world.segment(2).disk_bytes
    found = asking(running).plan([]).deletions
    assert found[Deletion("gate", Tier.RECORDS, Reason.MAX_AGE)] == (2, size)


class HastyClock(ManualClock):
    """Each look at it takes some seconds."""

    def monotonic(self) -> float:
        self.advance(MOST_SECONDS / 4.5)
        return super().monotonic()


def test_a_plan_that_takes_too_long_ends_and_says_that_there_is_more(tmp_path: Path, database: Engine) -> None:
    world = World(tmp_path, database)
    world.seal(segments=PAGE + 6)
    first = DatabaseView(database, world.root).page(Tier.RECORDS, "gate", None, None)
    changes = ["records.max_age_seconds=0.5"]
    assert asking(Running(world)).plan(changes).complete
    # Three looks for pages of video and thumbnails, of stills, and of records, and then there is no time for more.
    plan = asking(Running(world), HastyClock()).plan(changes)
    assert (plan.complete, plan.floor_broken) == (False, False)
    assert plan.deletions == {
        Deletion("gate", Tier.RECORDS, Reason.MAX_AGE): (PAGE, sum(each.disk_bytes for each in first))
    }


def test_only_one_plan_is_made_at_a_time(world: World) -> None:
    what = asking(Running(world))
    with what._lock, pytest.raises(BusyError, match="somebody else's plan"):
        what.plan([])
    assert what.plan([]).complete


def test_a_cameras_own_rule_stays_its_own_where_a_common_one_changes() -> None:
    said = {"video": {"min_age_seconds": 5}, "cameras": [{"name": "gate", "video": {"max_age_seconds": 60}}]}
    found = changed(RetentionSettings.model_validate(said), ["video.max_age_seconds=90"])
    assert found.of("gate").video.max_age_seconds == 60
    assert found.of("gate").video.min_age_seconds == 5
    assert found.of("yard").video.max_age_seconds == 90


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("video.max_age=3", r"retention\.video\.max_age: unknown setting"),
        ("nothing.at.all=3", r"retention\.nothing: unknown setting"),
        ("video.max_age_seconds=soon", r"retention\.video\.max_age_seconds: .*number"),
        ("video.max_age_seconds=-1", r"retention\.video\.max_age_seconds: .*greater than or equal to 0"),
        ("video.max_age_seconds=.nan", "retention.video.max_age_seconds"),
        ("video.max_age_seconds=1e400", "retention.video.max_age_seconds"),
        ("video.max_age_seconds=[[[", "is no YAML"),
        ("video", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("cameras.gate=3", r"retention\.cameras"),
        ("video.max_age_seconds.more=3", "retention.video.max_age_seconds"),
        ("records.min_age_seconds=1e9", "min_age_seconds is 1e.09 and max_age_seconds 60"),
        ("x" * 600 + "=1", "500 characters at most"),
    ],
)
def test_what_can_be_no_rule_is_named(change: str, said: str) -> None:
    settings = RetentionSettings.model_validate({"records": {"max_age_seconds": 60}, "cameras": [{"name": "gate"}]})
    with pytest.raises(ConfigError, match=said):
        changed(settings, [change])
    with pytest.raises(ConfigError, match="64 changes"):
        changed(settings, ["video.max_age_seconds=3"] * 65)
