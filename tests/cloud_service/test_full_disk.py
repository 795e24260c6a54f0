"""A full disk, for real: a small file system of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import Engine

from cloud_service.archive.storage import ArchiveStorage
from icm.errors import StorageFullError
from tests.cloud_service.parts import EPOCH, header, open_store, raw, record


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 256 KiB.

    Its mount point is gone before the test begins: the disk lives on through a descriptor only, so that the kernel
    removes it however this process ends, and no run finds what another one left behind.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    with TemporaryDirectory(prefix="icm-small-disk-") as point:
        mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", point]
        mounted = subprocess.run(mount, capture_output=True, text=True)
        if mounted.returncode != 0:
            pytest.skip(f"cannot mount a small disk here: {mounted.stderr.strip()}")
        disk = os.open(point, os.O_RDONLY | os.O_DIRECTORY)
        subprocess.run(["umount", "--lazy", point], check=True)
    yield Path(f"/proc/self/fd/{disk}")
    os.close(disk)


def test_the_store_refuses_what_does_not_fit_and_keeps_what_did(small_disk: Path, database: Engine) -> None:
    store, of = open_store(small_disk / "records", database), header()
    kept = raw([record(1, bytes(1000)), record(2, bytes(1000))], of)
    store.append(of, kept)
    with pytest.raises(StorageFullError, match="no space left"):
        store.append(of, raw([record(3), record(4, bytes(400_000))], of))
    assert not store.holds("gate", EPOCH, 3)
    again = open_store(small_disk / "records", database)
    assert [item.sequence for item in again.find("gate", EPOCH, 2)[1]] == [2]
    assert again.cameras()[0].records == 2


def test_the_store_recovers_by_itself_once_there_is_room(small_disk: Path, database: Engine) -> None:
    store, of = open_store(small_disk / "records", database), header()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    large = raw([record(1, bytes(100_000))], of)
    for _ in range(3):
        with pytest.raises(StorageFullError):
            store.append(of, large)
    ballast.unlink()
    assert store.append(of, large) == [True]
    store.close()
    assert len(list((small_disk / "records").rglob("*.icm"))) == 1


def test_a_video_that_does_not_fit_leaves_no_trace(small_disk: Path) -> None:
    storage = ArchiveStorage(str(small_disk / "archive"))
    with pytest.raises(StorageFullError, match=r"gate/video\.mp4"):
        storage.put("gate/video.mp4", bytes(400_000))
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []
    storage.put("gate/video.mp4", b"small")
    assert (small_disk / "archive/gate/video.mp4").read_bytes() == b"small"
