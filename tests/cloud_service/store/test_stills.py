"""Stills: one picture of each quiet segment outlives its records, restarts, and the database."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine, text

from cloud_service.database.opening import open_database
from icm.client.cloud import AsyncCloudClient
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.frame_id import FrameId
from icm.rpc.status import reason_of
from icm.v1 import archive_pb2 as pb
from tests.cases import EPOCH, HEIGHT, WIDTH, coded_stream, moving_square
from tests.cloud_service.parts import BrightnessDetector
from tests.cloud_service.retention.world import World
from tests.cloud_service.running import RunningCloud, running_cloud

PATIENCE_SECONDS = 60.0
QUIET = {
    "retention.keep": [{"classes": ["person"]}],
    "retention.quiet": {"max_age_seconds": 1, "then": "stills"},
}


async def only_stills_left(folder: Path) -> list[int]:
    """Has the service delete what is quiet; numbers of the segments of which a picture is left, once that is all."""
    for _ in range(int(PATIENCE_SECONDS / 0.25)):
        (folder / "records" / "retention.run").touch()
        await asyncio.sleep(0.25)
        if not list((folder / "records" / "gate").rglob("*.icm")):
            break
    assert not list((folder / "records" / "gate").rglob("*.icm"))
    return sorted(int(path.stem[-6:]) for path in (folder / "records" / "gate").rglob("*.keyframe"))


def lose_database(folder: Path) -> None:
    """The service makes another one."""
    for path in folder.glob("cloud.db*"):
        path.unlink()


async def picture(cloud: RunningCloud, sequence: int) -> pb.GetFrameResponse:
    frame = FrameId("gate", EPOCH, sequence).to_message()
    return await cloud.archive.GetFrame(
        pb.GetFrameRequest(frame=frame, format=pb.IMAGE_FORMAT_PNG), timeout=PATIENCE_SECONDS
    )


async def test_the_first_picture_of_a_quiet_segment_is_left_and_shown_as_a_still(
    tmp_path: Path, loaded: Bundle
) -> None:
    header, records = coded_stream(loaded, "gate", moving_square(30))
    decoder = Decoder(loaded)
    pictures = [decoder.decode(record, WIDTH, HEIGHT) for record in records]
    async with running_cloud(tmp_path, loaded, BrightnessDetector(), **QUIET) as cloud:
        await cloud.deliver(header, records)
        whole = await picture(cloud, 11)
        assert not whole.still
        assert await only_stills_left(tmp_path) == [1, 2, 3], "the first segment begins with an I record of its own"
        for sequence in (1, 11, 21):
            left = await picture(cloud, sequence)
            assert left.still
            assert left.capture_time.ToMicroseconds() == records[sequence - 1].capture_us
            assert np.array_equal(np.asarray(Image.open(BytesIO(left.image))), pictures[sequence - 1])
        with pytest.raises(grpc.aio.AioRpcError, match=r"was deleted .*; frame 11 of the same segment is left") as gone:
            await picture(cloud, 15)
        assert reason_of(gone.value) == "FRAME_DELETED"
    lose_database(tmp_path)
    async with running_cloud(tmp_path, loaded, BrightnessDetector(), **QUIET) as cloud:
        async with AsyncCloudClient(f"127.0.0.1:{cloud.app.port}") as client:
            frame = await client.frame(FrameId("gate", EPOCH, 21))
        assert frame.still
        assert np.array_equal(frame.image, pictures[20])
        with pytest.raises(grpc.aio.AioRpcError, match="was deleted"):
            await picture(cloud, 15)


def rows(database: Engine) -> list[tuple[object, ...]]:
    names = "number, epoch, first_sequence, kept_from_us, first_capture_us, path, bytes, disk_bytes"
    with database.connect() as connection:
        return [tuple(row) for row in connection.execute(text(f"SELECT {names} FROM stills ORDER BY number"))]


def test_a_database_that_is_new_or_of_yesterday_gets_the_rows_of_stills_again(
    tmp_path: Path, each_database_url: str
) -> None:
    database = open_database(each_database_url)
    world = World(tmp_path, database)
    world.seal(segments=5)
    world.delete_numbers(1, 3, 4, stills=True)
    kept = rows(database)
    assert [row[0] for row in kept] == [1, 3, 4]
    with database.begin() as connection:
        connection.execute(text("DELETE FROM stills WHERE number <> 3"))
    world.restart()
    again = rows(database)
    assert [row[:3] + row[4:] for row in again] == [row[:3] + row[4:] for row in kept]
    assert again[1] == kept[1], "a row that is there stays as it is"
    assert world.usage() == world.on_disk()
    world.store.close()
    database.dispose()


def test_a_keyframe_whose_segment_was_not_deleted_is_no_still(tmp_path: Path, database: Engine) -> None:
    world = World(tmp_path, database)
    world.seal(segments=3)
    world.add_keyframe(2)
    (world.root / world.segment(2).path).unlink()
    world.restart()
    assert rows(database) == []


def test_a_still_that_is_damaged_is_left_alone_and_not_shown(tmp_path: Path, database: Engine) -> None:
    world = World(tmp_path, database)
    world.seal(segments=3)
    world.delete_numbers(1, 2, stills=True)
    one, two = sorted(world.root.rglob("*.keyframe"))
    one.write_bytes(one.read_bytes()[:-3])
    with database.begin() as connection:
        connection.execute(text("DELETE FROM stills"))
    world.restart()
    assert [row[0] for row in rows(database)] == [2]
    assert one.exists()
    assert world.store.stills.find("gate", EPOCH, 1) is None
    two.unlink()
    assert world.store.stills.find("gate", EPOCH, 11) is None
