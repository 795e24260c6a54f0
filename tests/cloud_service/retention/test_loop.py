"""Passes of retention over a real store: what holds, blocks, waits and stands still."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import Engine, text

from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.archive.owner import ArchiveOwner
from cloud_service.clips.cache import RenderCache
from cloud_service.feedback.leases import LEASE_SECONDS, LONGEST_WAIT_SECONDS, Leases
from cloud_service.holds.book import Hold, HoldBook
from cloud_service.retention.clock import Moment, TrustedClock
from cloud_service.retention.disk import Ballast, Floor, Freed, Space
from cloud_service.retention.loop import RETRY_SECONDS, Retention
from cloud_service.retention.opening import open_retention
from cloud_service.retention.orphans import OrphanRounds
from cloud_service.retention.policy import Policy
from cloud_service.retention_settings import RetentionSettings, TotalSettings
from cloud_service.settings import CloudSettings
from cloud_service.store.identity import FILE_NAME, check_identity
from icm.config.settings import load_settings
from icm.config.watched_files import WatchedFiles
from icm.errors import StorageFullError
from icm.service.health import Problems
from tests.cloud_service.retention.world import World

MIB = 1 << 20
ROOMY = Space(1000 * MIB, 900 * MIB, 10_000, 9000)


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def world(tmp_path: Path, database: Engine) -> World:
    """Five segments of a second each."""
    world = World(tmp_path, database)
    world.seal(segments=5)
    return world


class Running:
    """Retention over a world, with a clock and a disk that a test moves."""

    def __init__(self, world: World, **told: Any) -> None:
        self.world, self.problems, self.space = world, Problems(), ROOMY
        self.holds, self.leases = HoldBook(world.root), Leases(world.clock)
        self.apart: Space | None = None
        self.skew: float | None = None
        self.reread: Callable[[], RetentionSettings] | None = None
        self.shed: Callable[[int], int] = lambda most: 0
        self.open(**told)

    def open(self, **told: Any) -> None:
        clock = self.world.clock
        self.retention = Retention(
            root=self.world.root,
            store=self.world.store,
            database=self.world.database,
            deleter=self.world.deleter,
            policy=Policy.of(RetentionSettings.model_validate(told)),
            time=TrustedClock(
                self.world.root, 0, lambda: self.skew, lambda: Moment(clock.now_us(), "boot", clock.now_us())
            ),
            clock=clock,
            holds=self.holds,
            leases=self.leases,
            shed_cache=lambda most: self.shed(most),
            orphans=lambda held: OrphanRounds(
                storage=self.world.storage,
                database=self.world.database,
                deleter=self.world.deleter,
                held=held,
                clock=clock,
            ),
            problems=self.problems,
            space=lambda: self.space,
            apart=lambda: self.apart,
            ballast=Ballast(None, 0),
            reread=self.reread,
        )

    def run(self) -> list[int]:
        return [each.item.number for each in self.retention.run_pass()]


def older_than(world: World, number: int) -> float:
    """A limit of age that all segments before this one are over."""
    return (world.clock.now_us() - world.segment(number).kept_from_us) / 1e6


def test_a_pass_deletes_what_is_due_and_says_when_it_ended_well(world: World) -> None:
    running = Running(world)
    running.retention._rules.held = Policy.of(
        RetentionSettings.model_validate({"records": {"max_age_seconds": older_than(world, 3)}})
    )
    assert running.run() == [1, 2]
    assert running.retention.state.last_success_us == world.clock.now_us()
    assert running.retention.state.deleted_items == {("gate", "records", "max_age"): 2}
    assert running.problems.lines() == []
    assert world.usage() == world.on_disk()


def test_what_is_held_stays_until_it_is_released_and_what_a_law_demands_goes_if_the_hold_says_so(world: World) -> None:
    running = Running(world)
    limit = {"records": {"max_age_seconds": older_than(world, 5)}}
    running.retention._rules.held = Policy.of(RetentionSettings.model_validate(limit))
    at = [world.segment(number).first_capture_us for number in (1, 2, 3)]
    hold = running.holds.add(Hold("", ("gate",), at[0], at[0] + 1, "anna", "theft", 1))
    running.holds.add(Hold("", (), at[1], at[1] + 1, "anna", "theft", 1, within_max_age=True))
    assert running.run() == [2, 3, 4]
    assert running.run() == []
    running.holds.release(hold.id, "anna", 2)
    assert running.run() == [1]


def test_what_was_held_goes_with_the_next_pass_after_the_hold_expired(world: World) -> None:
    running = Running(world)
    running.retention._rules.held = Policy.of(RetentionSettings.model_validate({"records": {"max_age_seconds": 60}}))
    at, expires_us = world.segment(1).first_capture_us, world.clock.now_us() + 3_600_000_000
    running.holds.add(Hold("", ("gate",), at, at + 1, "anna", "theft", 1, expires_us=expires_us))
    world.clock.advance(3599)
    assert running.run() == [2, 3, 4, 5]
    world.clock.advance(1)
    assert running.run() == [1]


def test_what_a_reader_leased_stays_for_a_while_and_then_goes(world: World) -> None:
    running = Running(world)
    limit = {"records": {"max_age_seconds": 3600}}
    world.clock.advance(4000)
    running.retention._rules.held = Policy.of(RetentionSettings.model_validate(limit))
    first = world.segment(1)
    with running.leases.reading("gate", first.first_capture_us, first.last_capture_us) as lease:
        assert running.run() == [2, 3, 4, 5]
        world.clock.advance(RETRY_SECONDS - LEASE_SECONDS)
        running.leases.renew(lease)
        assert running.run() == []
        assert LONGEST_WAIT_SECONDS <= RETRY_SECONDS
        world.clock.advance(LEASE_SECONDS)
        running.leases.renew(lease)
        assert running.run() == [1]


def test_what_no_detector_had_seen_goes_at_once_when_an_operator_asks_for_a_pass(world: World) -> None:
    running = Running(world)
    running.retention._rules.held = Policy.of(RetentionSettings.model_validate({"quiet": {"max_age_seconds": 1}}))
    world.clock.advance(100)
    assert running.run() == []
    for number in range(1, 5):
        world.detect(number)
    assert running.run() == [], "looked at again in ten minutes"
    (world.root / "retention.run").touch()
    running.retention.start()
    waited_from = time.monotonic()
    while world.numbers() != [5]:
        assert time.monotonic() - waited_from < 60
        time.sleep(0.05)
    running.retention.stop()
    assert not (world.root / "retention.run").exists()


def test_a_disk_that_is_too_full_gives_the_oldest_until_there_is_more_room_than_the_least(world: World) -> None:
    running = Running(world, total={"min_free_fraction": 0.1})
    taken = world.segment(1).disk_bytes
    margin = ROOMY.bytes // 20
    running.space = ROOMY._replace(free_bytes=round(0.1 * ROOMY.bytes) - 1)
    need = Floor(TotalSettings(min_free_fraction=0.1)).need(running.space)
    assert need.bytes == margin + 1
    running.space = ROOMY._replace(free_bytes=round(0.1 * ROOMY.bytes) + margin - 2 * taken)
    assert running.run() == []
    floor = Floor(TotalSettings(min_free_fraction=0.1), active=True)
    assert floor.need(running.space).bytes == 2 * taken


def test_the_render_cache_goes_before_anything_else_and_only_as_far_as_needed(world: World, tmp_path: Path) -> None:
    cache = RenderCache(tmp_path / "rendered", 1 << 20)
    for number in range(8):
        cache.put(f"{number:064x}", bytes(8000))
    running = Running(world, total={"min_free_fraction": 0.1})
    running.shed = cache.give
    whole, margin = cache.disk_bytes, ROOMY.bytes // 20
    running.retention._floor.active = True
    running.space = ROOMY._replace(free_bytes=ROOMY.bytes // 10 + margin - whole // 2)
    assert running.run() == []
    assert cache.disk_bytes == whole // 2
    assert cache.get(f"{7:064x}") is not None
    running.retention._floor.active = True
    running.space = ROOMY._replace(free_bytes=ROOMY.bytes // 10 + margin - whole // 2 - 1)
    assert running.run()[0] == 1
    assert cache.disk_bytes == 0


def test_a_floor_that_does_not_name_the_render_cache_leaves_it(world: World) -> None:
    running = Running(world, total={"min_free_fraction": 0.1}, floor={"order": ["video"]})
    asked: list[int] = []
    running.shed = lambda most: asked.append(most) or most
    running.space = ROOMY._replace(free_bytes=0)
    running.run()
    assert asked == []
    with pytest.raises(ValidationError, match="first or not at all"):
        RetentionSettings.model_validate({"floor": {"order": ["video", "render_cache"]}})


def test_when_nothing_more_may_go_no_record_is_taken_until_there_is_room(world: World) -> None:
    running = Running(world, total={"min_free_fraction": 0.1}, records={"min_age_seconds": 3600})
    running.space = ROOMY._replace(free_bytes=ROOMY.bytes // 100)
    assert running.run() == []
    with pytest.raises(StorageFullError, match="no rule of retention lets anything more go"):
        running.retention.check_not_blocked()
    assert "nearly full" in running.problems.lines()[0]
    running.space = ROOMY
    running.run()
    running.retention.check_not_blocked()
    assert running.problems.lines() == []


def test_deletions_that_free_nothing_stop_the_floor() -> None:
    freed = Freed()
    for expected, came, in_vain in ((100, 90, False), (100, 10, False), (100, 0, True)):
        freed.note(expected * MIB, came * MIB)
        assert freed.in_vain == in_vain


def test_rules_that_would_delete_much_more_wait_for_an_operator(world: World) -> None:
    limit = {"records": {"max_age_seconds": older_than(world, 4)}}
    running = Running(world)
    running.open(**limit)
    assert running.retention.state.waiting
    assert running.run() == []
    assert "retention plan" in running.problems.lines()[0]
    (world.root / "retention.apply").touch()
    assert running.retention._requested()
    assert running.run() == [1, 2, 3]
    assert running.problems.lines() == []
    running.open(**limit)
    assert not running.retention.state.waiting


def test_changed_settings_are_taken_up_whole_by_the_rule_of_a_tenth_and_invalid_ones_are_not(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cloud.yaml"

    def write(seconds: float) -> None:
        path.write_text(f"retention: {{records: {{max_age_seconds: {seconds}}}}}\n")

    write(86_400)
    running = Running(world)
    running.reread = WatchedFiles([path], lambda: load_settings(CloudSettings, path, {}).retention).current
    running.open(records={"max_age_seconds": 86_400})
    assert not running.retention._changed()
    path.write_text("retention: {records: {max_age_seconds: 5, min_age_seconds: 9}}\n")
    for _ in range(3):
        assert not running.retention._changed()
    errors = [each.message for each in caplog.records if each.levelname == "ERROR"]
    assert len(errors) == 1
    assert "min_age_seconds is 9 and max_age_seconds 5" in errors[0]
    assert running.retention.policy.settings.records.max_age_seconds == 86_400
    write(older_than(world, 4))
    assert running.retention._changed()
    assert running.retention.state.waiting
    assert running.run() == []
    write(3600)
    assert running.retention._changed()
    assert not running.retention.state.waiting
    assert running.problems.lines() == []
    assert running.retention.policy.settings.records.max_age_seconds == 3600
    write(older_than(world, 4))
    assert running.retention._changed()
    running.retention.apply()
    assert running.run() == [1, 2, 3]


def test_a_clock_that_jumps_ten_years_deletes_nothing_until_edges_agree_with_it(world: World) -> None:
    running = Running(world)
    running.retention._rules.held = Policy.of(
        RetentionSettings.model_validate({"records": {"max_age_seconds": 86_400}})
    )
    running.skew = 10 * 365 * 86_400.0
    world.clock.advance(running.skew)
    assert running.run() == []
    assert "ahead of the edges' clocks" in running.problems.lines()[0]
    assert not running.retention.state.clock.trusted
    running.skew = 1.0
    assert running.run() == [1, 2, 3, 4, 5]


def test_segments_that_are_missing_in_number_stop_all_deletion(world: World) -> None:
    for path in sorted(world.root.rglob("*.icm"))[:3]:
        path.unlink()
    world.restart()
    running = Running(world)
    running.retention._rules.held = Policy.of(RetentionSettings.model_validate({"records": {"max_age_seconds": 0}}))
    world.clock.advance(10)
    assert running.run() == []
    assert "3 segments are missing" in running.problems.lines()[0]
    assert world.rows("record_segments") == 5


def opened(world: World, problems: Problems) -> Retention:
    """Retention as the service puts it together."""
    name = check_identity(world.root, world.database)
    owner = ArchiveOwner(world.storage, name, VideoCatalogue(world.database).knows_any)
    return open_retention(
        settings=RetentionSettings(ballast_bytes=0),
        root=world.root,
        store_name=name,
        store=world.store,
        database=world.database,
        storage=world.storage,
        check_owned=lambda: None,
        check_archive=owner.confirm,
        keeper=None,
        holds=HoldBook(world.root),
        leases=Leases(world.clock),
        shed_cache=lambda most: 0,
        edges_skew=lambda: 0.0,
        clock=world.clock,
        problems=problems,
    )


def test_on_another_disk_nothing_is_deleted_and_on_the_right_one_all_of_it(world: World) -> None:
    problems = Problems()
    retention = opened(world, problems)
    retention._rules.held = Policy.of(RetentionSettings.model_validate({"records": {"max_age_seconds": 0}}))
    identity = world.root / FILE_NAME
    identity.rename(world.root / "away")
    assert retention.run_pass() == []
    assert "is no record store" in problems.lines()[0]
    identity.write_text("another\n")
    assert retention.run_pass() == []
    assert retention.state.store_missing
    (world.root / "away").rename(identity)
    assert len(retention.run_pass()) == 5
    assert not retention.state.store_missing


@pytest.mark.parametrize("harm", ["not mounted", "another's"])
def test_while_the_archives_disk_is_away_nothing_is_deleted_of_it_or_of_records(world: World, harm: str) -> None:
    for number in range(1, 6):
        world.add_video(number)
    problems = Problems()
    retention = opened(world, problems)
    retention._rules.held = Policy.of(RetentionSettings.model_validate({"records": {"max_age_seconds": 0}}))
    folder = world.storage.folder
    assert folder is not None
    folder.rename(away := folder.with_name("away"))
    folder.mkdir()
    if harm == "another's":
        (folder / "archive.id").write_text("south\n")
    assert retention.run_pass() == []
    assert str(folder) in problems.lines()[0]
    assert retention.state.store_missing
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    away.rename(folder)
    assert len(retention.run_pass()) == 15
    assert world.usage() == world.on_disk() == {}


def test_while_the_database_refuses_nothing_is_deleted_and_overdue_bytes_are_told(world: World) -> None:
    running = Running(world)
    running.retention._rules.held = Policy.of(RetentionSettings.model_validate({"records": {"max_age_seconds": 60}}))
    world.clock.advance(3600)
    with world.database.begin() as connection:
        connection.execute(text("ALTER TABLE garbage RENAME TO elsewhere"))
    assert running.run() == []
    assert len(running.problems.lines()) == 1
    assert running.retention.state.overdue_bytes["records"] == sum(
        world.segment(number).disk_bytes for number in range(1, 6)
    )
    with world.database.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO garbage"))
    assert running.run() == [1, 2, 3, 4, 5]
    assert not +running.retention.state.overdue_bytes


def test_a_ballast_is_made_where_there_is_room_and_given_up_once(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "cloud.db.ballast", 4096, lambda folder: ROOMY)
    ballast.fill()
    assert (tmp_path / "cloud.db.ballast").stat().st_size == 4096
    assert ballast.drop()
    assert not ballast.drop()
    tight = Ballast(tmp_path / "cloud.db.ballast", 4096, lambda folder: ROOMY._replace(free_bytes=9000))
    tight.fill()
    assert not (tmp_path / "cloud.db.ballast").exists()
