"""An archive belongs to one record store, wherever it lies; what does not fit is refused by name."""

from __future__ import annotations

import asyncio
from pathlib import Path

import fsspec  # type: ignore[import-untyped]
import pytest

from cloud_service.archive.owner import ArchiveOwner
from cloud_service.archive.storage import ArchiveStorage
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from icm.errors import StorageError
from icm.v1 import archive_pb2 as pb
from tests.cloud_service.parts import coded_header, coded_records
from tests.cloud_service.running import RunningCloud, app_in, running_cloud


def as_folder(folder: Path) -> str:
    return str(folder)


def as_file_url(folder: Path) -> str:
    return f"file://{folder}"


def in_memory(folder: Path) -> str:
    """Where nothing can be locked, as in a bucket."""
    return f"memory:/{folder}"


ANYWHERE = pytest.mark.parametrize("url_of", [as_folder, as_file_url, in_memory])


def content(url: str) -> dict[str, bytes]:
    """What lies below, but for locks."""
    files, root = fsspec.core.url_to_fs(url)
    return {path: files.cat_file(path) for path in files.find(root) if not path.endswith(".lock")}


async def a_video(cloud: RunningCloud) -> str:
    """The path of the camera's first video, once there is one."""
    request = pb.ListSegmentsRequest(camera="gate")
    async with asyncio.timeout(20):
        while not (answer := await cloud.archive.ListSegments(request)).segments:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return str(answer.segments[0].path)


@ANYWHERE
async def test_an_archive_of_another_store_is_refused_and_named_while_it_is_used_and_after(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame], url_of
) -> None:
    url = url_of(tmp_path / "videos")
    async with running_cloud(tmp_path / "north", loaded, None, **{"archive.url": url}) as cloud:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 12))
        await a_video(cloud)
        before = content(url)
        with pytest.raises(StorageError, match=r"the archive .*/videos (is in use by another icm-cloud|belongs to)"):
            app_in(tmp_path / "south", loaded, None, **{"archive.url": url})
    north, south = ((tmp_path / name / "records/store.id").read_text().strip() for name in ("north", "south"))
    with pytest.raises(StorageError, match=rf"/videos belongs to record store '{north}', and this cloud's is {south}"):
        app_in(tmp_path / "south", loaded, None, **{"archive.url": url})
    assert {path: content(url).get(path) for path in before} == before
    async with (
        running_cloud(tmp_path / "south", loaded, None),
        running_cloud(tmp_path / "north", loaded, None, **{"archive.url": url}),
    ):
        """What was refused has let go of what it had, and the archive's own store finds it again."""


async def test_an_archive_that_cannot_be_reached_keeps_no_record_out_and_gets_its_videos_later(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"not mounted")
    async with running_cloud(tmp_path, loaded, None, **{"archive.url": str(disk / "videos")}) as cloud:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 12))
        disk.unlink()
        path = await a_video(cloud)
    assert (disk / "videos" / path).exists()
    assert (disk / "videos/archive.id").read_text() == (tmp_path / "records/store.id").read_text()


@ANYWHERE
def test_an_archive_from_before_it_had_a_name_is_taken_by_who_comes_first(tmp_path: Path, url_of) -> None:
    storage = ArchiveStorage(url_of(tmp_path))
    storage.put("gate/2026-01-02/03/video.mp4", b"video")
    ArchiveOwner(storage, "north").release()
    with pytest.raises(StorageError, match="belongs to record store 'north'"):
        ArchiveOwner(storage, "south")
    again = ArchiveOwner(storage, "north")
    again.check()
    again.release()
    assert storage.get("gate/2026-01-02/03/video.mp4") == b"video"


@pytest.mark.parametrize("harm", ["given to another", "tidied up"])
def test_an_archive_that_became_anothers_takes_no_more_videos(tmp_path: Path, harm: str) -> None:
    owner = ArchiveOwner(ArchiveStorage(str(tmp_path)), "north")
    owner.check()
    for path in tmp_path.iterdir():
        path.unlink()
    if harm == "given to another":
        (tmp_path / "archive.id").write_text("south\n")
        with pytest.raises(StorageError, match="belongs to record store 'south'"):
            owner.check()
    else:
        owner.check()
        assert (tmp_path / "archive.id").read_text() == "north\n"
    owner.release()


def test_an_empty_folder_is_no_archive_where_there_must_be_videos(tmp_path: Path) -> None:
    """The disk that belongs there is not mounted."""
    disk, empty = tmp_path / "disk", tmp_path / "empty"
    storage = ArchiveStorage(str(tmp_path / "videos"))
    owner = ArchiveOwner(storage, "north", lambda: True)
    with pytest.raises(StorageError, match="mount its disk"):
        owner.check()
    assert list((tmp_path / "videos").iterdir()) == []
    (tmp_path / "videos/archive.id").write_text("north\n")
    owner.confirm()
    storage.put("gate/2026-01-02/03/video.mp4", b"video")
    (tmp_path / "videos").rename(disk)
    empty.mkdir()
    empty.rename(tmp_path / "videos")
    for ask in (owner.check, owner.confirm):
        with pytest.raises(StorageError, match="mount its disk"):
            ask()
    (tmp_path / "videos").rmdir()
    disk.rename(tmp_path / "videos")
    owner.confirm()
    owner.release()
