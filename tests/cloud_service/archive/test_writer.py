"""The archive's files: where they lie and what the catalogue says of them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import av
import fsspec  # type: ignore[import-untyped]
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine

from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.archive.fragments import init_name, init_path
from cloud_service.archive.rendering import SegmentRenderer
from cloud_service.archive.storage import ArchiveStorage
from cloud_service.archive.writer import ArchiveWriter, VideoSegment
from cloud_service.store.cursors import load_cursors
from icm.errors import ConfigError, StorageError

START_US = 1_790_000_000_250_000


def render(root: Path | str, frames: int = 3, number: int = 1) -> VideoSegment:
    renderer = SegmentRenderer(thumbnail_width=64)
    for index in range(frames):
        renderer.add("gate", number, np.full((96, 128, 3), 100, np.uint8), START_US + index * 500_000)
    video = renderer.finish("gate")
    assert video is not None
    return ArchiveWriter(ArchiveStorage(str(root))).write(video)


def test_a_video_and_its_thumbnail_lie_by_camera_day_and_hour(tmp_path: Path) -> None:
    video = render(tmp_path)
    assert video.path == "gate/2026-09-21/14/20260921T141320250000Z-000001.mp4"
    assert video.thumbnail_path == "gate/2026-09-21/14/20260921T141320250000Z-000001.jpg"
    assert {path.name for path in (tmp_path / video.path).parent.iterdir()} == {
        Path(video.path).name,
        Path(video.thumbnail_path).name,
    }
    with Image.open(tmp_path / video.thumbnail_path) as thumbnail:
        assert thumbnail.size == (64, 48)


def test_the_catalogue_entry_tells_the_truth_about_the_files(tmp_path: Path) -> None:
    video = render(tmp_path, frames=4)
    assert video.bytes == (tmp_path / video.path).stat().st_size
    assert video.thumbnail_bytes == (tmp_path / video.thumbnail_path).stat().st_size
    assert video.disk_bytes == (tmp_path / video.path).stat().st_blocks * 512
    assert video.thumbnail_disk_bytes == (tmp_path / video.thumbnail_path).stat().st_blocks * 512
    with av.open(str(tmp_path / video.path)) as container:
        assert len(list(container.decode(video=0))) == video.frames == 4
        assert container.duration == pytest.approx(video.duration_us, abs=1000)


def test_any_file_system_that_fsspec_knows_will_do() -> None:
    video = render("memory://videos")
    files = fsspec.filesystem("memory")
    assert files.size(f"/videos/{video.path}") == video.bytes == video.disk_bytes


def test_a_file_system_that_nobody_knows_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="nosuch"):
        ArchiveStorage("nosuch://bucket")


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "gate").write_text("in the way")
    with pytest.raises(StorageError, match="gate"):
        render(tmp_path)


@pytest.mark.parametrize("root", ["folder", "memory"])
def test_what_is_deleted_is_gone_with_the_folders_that_it_leaves_empty(tmp_path: Path, root: str) -> None:
    storage = ArchiveStorage(str(tmp_path) if root == "folder" else f"memory://deleted{tmp_path}")
    paths = ["gate/2026-01-02/03/a.mp4", "gate/2026-01-02/03/b.mp4", "gate/2026-01-02/04/c.mp4", "init/d.mp4"]
    for path in paths:
        storage.put(path, b"video")
    storage.delete([paths[0], paths[2], "gate/2026-01-02/03/gone.mp4", "gate/2026-01-01/00/gone.mp4"])
    assert [storage.get(path) for path in paths] == [None, b"video", None, b"video"]
    storage.delete(paths)
    assert [storage.get(path) for path in paths] == [None] * 4
    if root == "folder":
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["gate", "init"]


def test_a_camera_without_a_picture_has_nothing_to_finish() -> None:
    assert SegmentRenderer(64).finish("gate") is None


def test_a_fragment_plays_after_the_init_segment_that_its_video_names(tmp_path: Path) -> None:
    first, second = render(tmp_path, frames=15), render(tmp_path, frames=2, number=2)
    assert first.init == second.init
    assert [path.name for path in (tmp_path / "init").iterdir()] == [f"{first.init}.mp4"]
    init = (tmp_path / init_path(first.init)).read_bytes()
    assert init_name(init) == first.init
    _, fragment = first.fragments
    data = (tmp_path / first.path).read_bytes()[fragment.offset : fragment.offset + fragment.length]
    with av.open(BytesIO(init + data)) as container:
        assert len(list(container.decode(video=0))) == 5


def video_at(number: int, start_us: int, frames: int = 1) -> VideoSegment:
    return VideoSegment(
        camera="gate",
        number=number,
        start_us=start_us,
        duration_us=1_000_000,
        frames=frames,
        path=f"{number}.mp4",
        bytes=10,
        thumbnail_path=f"{number}.jpg",
        thumbnail_bytes=1,
        disk_bytes=4096,
        thumbnail_disk_bytes=512,
    )


def test_videos_are_listed_by_the_time_they_show(database: Engine) -> None:
    catalogue = VideoCatalogue(database)
    for number in (3, 1, 2):
        catalogue.add_whole("gate", number, video_at(number, number * 1_000_000))

    def numbers(from_us: int | None, to_us: int | None) -> list[int]:
        return [video.number for video in catalogue.list("gate", from_us, to_us)]

    assert numbers(None, None) == [1, 2, 3]
    assert numbers(3_000_001, None) == [3]
    assert numbers(3_000_000, None) == [2, 3]
    assert numbers(None, 2_000_000) == [1]
    assert catalogue.list("yard", None, None) == []


def test_a_part_is_replaced_by_the_whole_and_only_that_counts_as_progress(database: Engine) -> None:
    catalogue = VideoCatalogue(database)
    catalogue.add_part(video_at(4, 0, frames=2))
    assert load_cursors(database, "gate").archive == 0
    catalogue.add_whole("gate", 4, video_at(4, 0, frames=9))
    assert load_cursors(database, "gate").archive == 5
    assert [video.frames for video in catalogue.list("gate", None, None)] == [9]


def test_a_video_is_read_back_as_it_was_entered(tmp_path: Path, database: Engine) -> None:
    video = render(tmp_path, frames=15)
    VideoCatalogue(database).add_whole("gate", 1, video)
    assert VideoCatalogue(database).list("gate", None, None) == [video]
