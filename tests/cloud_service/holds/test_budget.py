"""A hold may have a budget: what arrives when it is used up is not kept, and what was kept before stays so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cloud_service.holds.book import Hold, HoldBook
from cloud_service.holds.budget import HoldBudgets, HoldMeter, HoldTotals, check_fits
from cloud_service.retention.policy import Policy
from cloud_service.retention_settings import RetentionSettings
from icm.errors import ConfigError
from tests.cloud_service.parts import START_US
from tests.cloud_service.retention.test_loop import Running
from tests.cloud_service.retention.world import DAY_US, World

DAY = Hold("", (), START_US, START_US + DAY_US, "anna", "theft", 1)


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def world(tmp_path: Path, database: Engine) -> World:
    """Two segments of a second each of two cameras."""
    world = World(tmp_path, database)
    world.seal(segments=2)
    world.seal("yard", segments=2)
    return world


def size(world: World) -> int:
    """What one of the segments takes."""
    return world.segment(1).disk_bytes


def test_a_hold_is_measured_in_records_videos_and_thumbnails_of_its_cameras_and_time(world: World) -> None:
    meter = HoldMeter(world.database)
    assert meter.bytes(DAY) == 4 * size(world)
    assert meter.bytes(replace(DAY, cameras=("yard",))) == 2 * size(world)
    at = world.segment(2).first_capture_us
    assert meter.bytes(replace(DAY, cameras=("gate",), from_us=at, to_us=at + 1)) == size(world)
    world.add_video(1)
    usage = sum(amount.disk_bytes for amount in world.on_disk().values())
    assert meter.bytes(DAY) == usage > 4 * size(world)


def test_what_several_holds_keep_counts_once(world: World) -> None:
    meter = HoldMeter(world.database)
    first, later = world.segment(1).first_capture_us, world.segment(2).first_capture_us
    gate = replace(DAY, cameras=("gate",))
    holds = [gate, replace(gate, from_us=later), replace(gate, from_us=first, to_us=first + 1), DAY]
    assert meter.all_kept_bytes(holds) == 4 * size(world)
    assert meter.all_kept_bytes(holds[:3]) == 2 * size(world)
    assert meter.all_kept_bytes([]) == 0


def test_a_hold_whose_time_holds_more_than_its_budget_already_is_refused_with_both_numbers(world: World) -> None:
    meter, whole = HoldMeter(world.database), 4 * size(world)
    check_fits(replace(DAY, max_bytes=whole), meter)
    check_fits(DAY, meter)
    with pytest.raises(ConfigError, match=f"budget is {whole - 1} bytes, and {whole} lie in its time"):
        check_fits(replace(DAY, max_bytes=whole - 1), meter)


def test_what_arrives_beyond_the_budget_is_not_kept_and_what_was_kept_stays_so(world: World) -> None:
    running = Running(world)
    whole = 4 * size(world)
    hold = running.holds.add(replace(DAY, max_bytes=whole + size(world)))
    keep_nothing = Policy.of(RetentionSettings.model_validate({"records": {"max_age_seconds": 0}}))
    running.retention._rules.held = keep_nothing
    world.clock.advance(60)
    assert running.run() == []
    assert running.retention.state.holds == HoldTotals(whole, near=0, full=0)
    world.seal("yard")
    world.clock.advance(60)
    running.open()
    running.retention._rules.held = keep_nothing
    assert running.run() == []
    assert running.retention.state.holds == HoldTotals(whole + size(world), near=1, full=0)
    world.seal()
    world.seal("porch")
    world.clock.advance(60)
    running.open()
    running.retention._rules.held = keep_nothing
    assert sorted(running.run()) == [1, 3]
    assert (world.numbers(), world.numbers("yard"), world.numbers("porch")) == ([1, 2], [1, 2, 3], [])
    assert running.retention.state.holds == HoldTotals(whole + size(world), near=0, full=1)
    (full,) = HoldBook(world.root).active(None)
    assert (full.id, full.full_us, dict(full.ends)) == (
        hold.id,
        world.clock.now_us(),
        {"gate": 3, "yard": 4, "porch": 1},
    )


def test_a_hold_that_is_full_stays_so_when_some_of_it_is_gone(world: World) -> None:
    book = HoldBook(world.root)
    hold = book.add(replace(DAY, cameras=("gate",), max_bytes=size(world), within_max_age=True))
    budgets = HoldBudgets(book, HoldMeter(world.database))
    budgets.check(None, 5)
    world.delete_numbers(1)
    assert budgets.check(None, 6) == HoldTotals(0, near=0, full=1)
    (full,) = book.active(None)
    assert (full.full_us, full.ends) == (5, (("gate", 2),))
    book.release(hold.id, "anna", 7)
    book.fill(hold.id, {}, 8)
    assert book.all()[0].full_us == 5


@pytest.mark.parametrize("budget", [-1, (1 << 60) + 1])
def test_a_budget_that_cannot_be_is_refused(tmp_path: Path, budget: int) -> None:
    with pytest.raises(ConfigError, match="budget"):
        HoldBook(tmp_path).add(replace(DAY, max_bytes=budget))
