"""A disk of 64 MiB that fills up, for real."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import Engine

from cloud_service.retention.disk import space_apart, space_of
from icm.errors import StorageFullError
from tests.cloud_service.retention.test_loop import Running
from tests.cloud_service.retention.world import World

MIB = 1 << 20


@contextmanager
def mounted() -> Iterator[Path]:
    """A file system of 64 MiB and 2000 inodes, which the kernel removes however this process ends."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    with TemporaryDirectory(prefix="icm-small-disk-") as point:
        mount = ["mount", "-t", "tmpfs", "-o", "size=64m,nr_inodes=2000", "tmpfs", point]
        done = subprocess.run(mount, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
        disk = os.open(point, os.O_RDONLY | os.O_DIRECTORY)
        subprocess.run(["umount", "--lazy", point], check=True)
    yield Path(f"/proc/self/fd/{disk}")
    os.close(disk)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    with mounted() as disk:
        yield disk


@pytest.fixture
def other_disk() -> Iterator[Path]:
    with mounted() as disk:
        yield disk


def pass_of(running: Running, world: World) -> list[int]:
    running.space = space_of(world.root)
    running.retention._space = lambda: space_of(world.root)
    running.retention._apart = lambda: space_apart(world.storage.folder, world.root)
    return running.run()


def test_on_a_disk_that_is_full_the_oldest_go_and_records_are_taken_again(small_disk: Path, database: Engine) -> None:
    world = World(small_disk, database)
    world.seal(segments=10, payload=bytes(300_000))
    (small_disk / "foreign").write_bytes(bytes(space_of(world.root).free_bytes - MIB))
    with pytest.raises(StorageFullError):
        world.seal(payload=bytes(300_000))
    world.sequences["gate"] = 100
    world.restart()
    running = Running(world, total={"min_free_fraction": 0.1})
    gone = pass_of(running, world)
    assert gone
    assert gone == list(range(1, len(gone) + 1))
    assert space_of(world.root).free_bytes >= 6.4 * MIB
    assert world.usage() == world.on_disk()
    running.retention.check_not_blocked()
    kept = len(world.numbers())
    (small_disk / "more").write_bytes(bytes(space_of(world.root).free_bytes - 2 * MIB))
    assert len(pass_of(running, world)) > 0
    assert len(world.numbers()) < kept


def test_where_inodes_run_out_the_oldest_go_too(small_disk: Path, database: Engine) -> None:
    world = World(small_disk, database)
    world.seal(segments=5)
    for index in range(space_of(world.root).free_inodes - 100):
        (small_disk / f"foreign-{index}").touch()
    running = Running(world, total={"min_free_inodes_fraction": 0.051})
    assert pass_of(running, world)
    assert {reason for _, _, reason in running.retention.state.deleted_items} == {"free_inodes"}


@pytest.mark.parametrize("full", ["archive", "records"])
def test_where_the_archive_has_a_disk_of_its_own_only_what_lies_on_the_full_one_goes(
    small_disk: Path, other_disk: Path, database: Engine, full: str
) -> None:
    world = World(small_disk, database, archive=str(other_disk / "archive"))
    world.seal(segments=5, payload=bytes(300_000))
    for number in range(1, 6):
        world.add_video(number)
    disk = other_disk if full == "archive" else small_disk
    (disk / "foreign").write_bytes(bytes(space_of(disk).free_bytes - 6 * MIB))
    running = Running(world, total={"min_free_fraction": 0.1})
    assert pass_of(running, world)
    tiers = {tier for _, tier, _ in running.retention.state.deleted_items}
    assert tiers == ({"video", "thumbnails"} if full == "archive" else {"records"})
    assert {reason for _, _, reason in running.retention.state.deleted_items} == {"free_space"}
    assert running.retention.state.floor_active == (full == "archive")
    running.retention.check_not_blocked()
    assert world.usage() == world.on_disk()
