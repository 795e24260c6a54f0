"""The small disk that the chaos fills."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from icm_bench.delivery.small_disk import SmallDisk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk", megabytes=1)
    if not disk.mount():
        pytest.skip("only root can mount a small disk")
    yield disk
    disk.unmount()


def test_a_filled_disk_takes_not_one_page_more_until_it_is_freed(disk: SmallDisk) -> None:
    (disk.folder / "before").write_bytes(bytes(1000))
    disk.fill()
    with pytest.raises(OSError, match="No space left") as refused:
        (disk.folder / "while").write_bytes(bytes(1))
    assert refused.value.errno == errno.ENOSPC
    disk.free()
    (disk.folder / "after").write_bytes(bytes(500_000))
    assert (disk.folder / "before").stat().st_size == 1000


def test_nothing_is_left_of_it(disk: SmallDisk) -> None:
    (disk.folder / "file").write_bytes(bytes(1000))
    disk.unmount()
    assert list(disk.folder.iterdir()) == []
