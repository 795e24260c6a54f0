"""What takes the disk: it adds up, what is held is apart, and what lies elsewhere is not of this disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cloud_service.database.usage import Tier, read_usage
from cloud_service.holds.book import Hold
from cloud_service.retention.figures.disk_shares import Disk
from cloud_service.retention.figures.storage import FRESH_SECONDS, StorageReporter
from cloud_service.retention.loop import Retention
from tests.cloud_service.retention.test_loop import Running
from tests.cloud_service.retention.world import World


@pytest.fixture
def world(tmp_path: Path, database: Engine) -> World:
    """Three segments of the gate, of which the first two have a video, and one of the yard."""
    world = World(tmp_path, database)
    world.seal(segments=3)
    world.seal("yard")
    world.add_video(1)
    world.add_video(2)
    return world


def disk_of(world: World, tmp_path: Path, archive: Path | None) -> Disk:
    return Disk(world.root, archive, tmp_path / "cloud.db", lambda: 4096)


def reporter_of(running: Running, disk: Disk, retention: Retention | None = None) -> StorageReporter:
    world = running.world
    return StorageReporter(
        retention=retention or running.retention,
        database=world.database,
        holds=running.holds,
        disk=disk,
        clock=world.clock,
    )


def test_all_that_takes_the_disk_adds_up_to_the_disk(world: World, tmp_path: Path) -> None:
    shares = disk_of(world, tmp_path, world.storage.folder).shares(read_usage(world.database))
    used = sum(shares.tiers.values()) + shares.cache + shares.database + shares.foreign
    assert used + shares.space.free_bytes == shares.space.bytes
    assert shares.elsewhere == 0
    assert min(shares.tiers[Tier.RECORDS], shares.tiers[Tier.VIDEO], shares.tiers[Tier.THUMBNAILS]) > 0


@pytest.mark.parametrize("archive", [None, Path("/proc"), Path("/nowhere")], ids=["object store", "other disk", "gone"])
def test_an_archive_elsewhere_takes_nothing_of_this_disk(world: World, tmp_path: Path, archive: Path | None) -> None:
    here = disk_of(world, tmp_path, world.storage.folder).shares(read_usage(world.database))
    shares = disk_of(world, tmp_path, archive).shares(read_usage(world.database))
    assert shares.elsewhere == here.tiers[Tier.VIDEO] + here.tiers[Tier.THUMBNAILS]
    assert set(shares.tiers) == {Tier.RECORDS}


def test_a_report_tells_tiers_with_their_oldest_and_what_holds_keep_of_each(world: World, tmp_path: Path) -> None:
    running = Running(world)
    running.run()
    first, third = world.segment(1), world.segment(3)
    for segment in (first, third):
        running.holds.add(Hold("", ("gate",), segment.first_capture_us, segment.last_capture_us, "anna", "theft", 1))
    report = reporter_of(running, disk_of(world, tmp_path, world.storage.folder)).report()
    assert list(report.cameras) == ["gate", "yard"]
    gate = report.cameras["gate"]
    assert (gate[Tier.RECORDS].amount.files, gate[Tier.RECORDS].oldest_us) == (3, first.kept_from_us)
    assert (gate[Tier.VIDEO].amount.files, gate[Tier.VIDEO].oldest_us) == (2, first.first_capture_us)
    assert set(report.cameras["yard"]) == {Tier.RECORDS}
    assert report.held.records == first.disk_bytes + third.disk_bytes
    assert 0 < report.held.video < gate[Tier.VIDEO].amount.disk_bytes, "the third has no video, the second no hold"
    assert report.state.last_success_us == world.clock.now_us()


def test_a_report_is_looked_up_anew_after_ten_seconds(world: World, tmp_path: Path) -> None:
    reporter = reporter_of(Running(world), disk_of(world, tmp_path, world.storage.folder))
    first = reporter.report()
    world.clock.advance(FRESH_SECONDS - 1)
    assert reporter.report() is first
    world.clock.advance(1)
    assert reporter.report().at_us == world.clock.now_us()


def test_a_database_on_the_disk_counts_with_its_log_and_one_of_a_server_does_not(world: World, tmp_path: Path) -> None:
    usage = read_usage(world.database)
    (tmp_path / "cloud.db-wal").touch()
    files = [tmp_path / "cloud.db", *tmp_path.glob("cloud.db-*")]
    expected = sum(os.stat(path).st_blocks * 512 for path in files)
    assert disk_of(world, tmp_path, None).shares(usage).database == expected
    assert Disk(world.root, None, None, lambda: 0).shares(usage).database == 0
