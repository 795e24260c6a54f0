"""An archive in a bucket, over HTTP to a server that speaks S3: moto's, as no MinIO or Garage is in a registry here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy import Engine

from cloud_service.archive.fragments import init_path
from cloud_service.archive.owner import ArchiveOwner
from cloud_service.archive.storage import ArchiveStorage
from cloud_service.retention.orphans import EVERY_SECONDS, FIRST_SECONDS
from icm.codec.bundle.loading import Bundle
from icm.errors import StorageError
from icm.v1 import archive_pb2
from tests.cloud_service.archive.test_owner import a_video
from tests.cloud_service.archive.test_writer import render
from tests.cloud_service.clips.recorded import at, chain, numbers, read_clip, request, shown
from tests.cloud_service.parts import coded_header
from tests.cloud_service.retention.test_loop import Running
from tests.cloud_service.retention.test_orphans import stray
from tests.cloud_service.retention.world import World
from tests.cloud_service.running import app_in, running_cloud

_numbers = count(1)


class Bucket:
    """A bucket on a server that can be stopped and started again.

    Attributes:
        name: the bucket's.
    """

    def __init__(self, name: str, port: int, client: Any) -> None:
        self.name, self._port, self._client = name, port, client

    @property
    def url(self) -> str:
        """Of an archive in it."""
        return f"s3://{self.name}/site"

    @property
    def keys(self) -> set[str]:
        """What is in it, below the archive's root."""
        found = self._client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return {item["Key"].removeprefix("site/") for item in found}


@dataclass
class Server:
    """moto's, which keeps what it holds while it is stopped."""

    port: int = 0
    running: Any = None

    def start(self) -> None:
        self.running = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.running.start()
        _, self.port = self.running.get_host_and_port()

    def stop(self) -> None:
        self.running.stop()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in (
            ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ):
            environment.setenv(name, value)
        yield server
    server.stop()


@pytest.fixture
def bucket(server: Server) -> Bucket:
    client = boto3.client("s3")
    name = f"videos-{next(_numbers)}"
    client.create_bucket(Bucket=name)
    return Bucket(name, server.port, client)


def test_files_are_written_read_whole_and_by_ranges_of_bytes_and_deleted_together(bucket: Bucket) -> None:
    storage = ArchiveStorage(bucket.url)
    content = bytes(range(256)) * 4
    assert [storage.put(f"gate/{number}.mp4", content) for number in range(20)] == [1024] * 20
    assert storage.get("gate/3.mp4") == content
    assert storage.read("gate/3.mp4", 250, 10) == content[250:260]
    assert storage.get("gate/none.mp4") is None
    with pytest.raises(StorageError, match=r"gate/3\.mp4 is cut off: it has 4 of 10 bytes from byte 1020 on"):
        storage.read("gate/3.mp4", 1020, 10)
    with pytest.raises(StorageError, match=r"cannot use .*gate/3\.mp4"):
        storage.read("gate/3.mp4", 5000, 10)
    with pytest.raises(StorageError, match=r"gate/none\.mp4 is gone"):
        storage.read("gate/none.mp4", 0, 10)
    storage.delete([*(f"gate/{number}.mp4" for number in range(19)), "gate/none.mp4"])
    assert bucket.keys == {"gate/19.mp4"}


def test_a_video_lies_there_as_it_would_in_a_folder(bucket: Bucket) -> None:
    video = render(bucket.url)
    assert bucket.keys == {video.path, video.thumbnail_path, init_path(video.init)}
    assert (video.disk_bytes, video.thumbnail_disk_bytes) == (video.bytes, video.thumbnail_bytes)


def test_a_bucket_belongs_to_one_store(bucket: Bucket) -> None:
    ArchiveOwner(ArchiveStorage(bucket.url), "north").release()
    with pytest.raises(StorageError, match="belongs to record store 'north'"):
        ArchiveOwner(ArchiveStorage(bucket.url), "south")


def test_a_bucket_that_there_is_not_is_refused_at_the_start_and_not_made(
    server: Server, tmp_path: Path, loaded: Bundle
) -> None:
    with pytest.raises(StorageError, match=r"cannot use nosuch/site/archive\.id: .*bucket does not exist"):
        app_in(tmp_path, loaded, None, **{"archive.url": "s3://nosuch/site"})
    assert "nosuch" not in {found["Name"] for found in boto3.client("s3").list_buckets()["Buckets"]}


async def test_a_clip_is_cut_out_of_videos_in_a_bucket(tmp_path: Path, loaded: Bundle, bucket: Bucket) -> None:
    async with running_cloud(tmp_path, loaded, None, **{"archive.url": bucket.url}) as cloud:
        await cloud.deliver(coded_header(loaded), chain(loaded, 30))
        asked = archive_pb2.ListSegmentsRequest(camera="gate")
        async with asyncio.timeout(30):
            while len((await cloud.archive.ListSegments(asked)).segments) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        clip = await read_clip(cloud, request(at(0.7), at(2.3)))
        assert shown(clip.data).frames == numbers(8, 24)
        assert list((tmp_path / "rendered").iterdir()) == []


async def test_while_the_bucket_is_away_records_are_taken_and_their_videos_come_later(
    tmp_path: Path, loaded: Bundle, bucket: Bucket, server: Server
) -> None:
    async with running_cloud(tmp_path, loaded, None, **{"archive.url": bucket.url}) as cloud:
        server.stop()
        try:
            await cloud.deliver(coded_header(loaded), chain(loaded, 12))
            # What cannot be cut is rendered.
            clip = await read_clip(cloud, request(at(0), at(1.2)))
            assert shown(clip.data).frames == numbers(1, 13)
        finally:
            server.start()
        path = await a_video(cloud)
        assert path in bucket.keys


def test_orphans_in_a_bucket_are_swept_as_in_a_folder(bucket: Bucket, tmp_path: Path, database: Engine) -> None:
    world = World(tmp_path, database, archive=bucket.url)
    world.seal(segments=3)
    for number in (1, 2, 3):
        world.add_video(number)
    world.delete_numbers(1)
    known = bucket.keys
    orphans = {stray(world, 1), stray(world, 2, "jpg")}
    foreign = {stray(world, 9), "gate/notes.txt"}
    for key in orphans | foreign:
        world.storage.put(key, bytes(900))
    # The server says when files came by its own clock.
    world.clock.advance(time.time() - world.clock.now_us() / 1e6 + 2 * FIRST_SECONDS)
    running = Running(world, total={"min_free_fraction": 0.0})
    world.clock.advance(FIRST_SECONDS + 1)
    running.run()
    assert bucket.keys == known | foreign | orphans
    world.storage.delete([stray(world, 9)])
    world.clock.advance(EVERY_SECONDS)
    running.run()
    assert bucket.keys == known | {"gate/notes.txt"}
    assert running.retention.state.deleted_items == {
        ("gate", "video", "orphan"): 1,
        ("gate", "thumbnails", "orphan"): 1,
    }
