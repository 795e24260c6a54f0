"""A cloud that knows several bundles takes, shows and looks at records of any; of another, none is passed by."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from cloud_service.bundles import Bundles
from icm.codec.bitstream.record import StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from icm.errors import CodecMismatchError
from icm.rpc.status import reason_of
from icm.v1 import archive_pb2 as pb
from icm.v1.frame_pb2 import FrameRef
from tests.cloud_service.database.test_damage import fetch_health, seen
from tests.cloud_service.parts import EPOCH, BrightnessDetector, coded_header, coded_records
from tests.cloud_service.running import RunningCloud, running_cloud
from tests.cloud_service.store.test_store import files


async def got(cloud: RunningCloud, sequence: int) -> bytes:
    frame = FrameRef(camera="gate", epoch=EPOCH, sequence=sequence)
    return (await cloud.archive.GetFrame(pb.GetFrameRequest(frame=frame, format=pb.IMAGE_FORMAT_PNG))).image


async def test_cameras_go_from_one_bundle_to_the_next_and_back(
    tmp_path: Path, loaded: Bundle, other_bundle: Bundle, coded: list[CodedFrame]
) -> None:
    async with running_cloud(tmp_path, [loaded, other_bundle], BrightnessDetector()) as cloud:
        for first, bundle in ((1, loaded), (4, other_bundle), (7, loaded)):
            await cloud.deliver(coded_header(bundle), coded_records(coded, 3, first))
        pictures = [await got(cloud, sequence) for sequence in range(1, 10)]
    assert pictures == pictures[:2] * 4 + pictures[:1]
    assert seen(tmp_path) == list(range(1, 10))


async def test_records_of_a_bundle_that_a_start_lacked_are_looked_at_and_shown_once_it_is_there(
    tmp_path: Path, loaded: Bundle, other_bundle: Bundle, coded: list[CodedFrame]
) -> None:
    async with running_cloud(tmp_path, other_bundle, None) as cloud:
        await cloud.deliver(coded_header(other_bundle), coded_records(coded, 5))
    videos = len(list(files(tmp_path)))
    (tmp_path / "cloud.db").unlink()  # as if nothing had been looked at
    async with running_cloud(tmp_path, loaded, BrightnessDetector(), drain_seconds=0.0) as cloud:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await got(cloud, 1)
        assert reason_of(refused.value) == "CODEC_MISMATCH"
        health = ""
        while "`bundles`" not in health:
            health = await asyncio.to_thread(fetch_health, cloud.app.metrics_port)
            await asyncio.sleep(0.02)
    assert seen(tmp_path) == []
    async with running_cloud(tmp_path, [loaded, other_bundle], BrightnessDetector()) as cloud:
        assert await got(cloud, 1)
    assert seen(tmp_path) == list(range(1, 6))
    assert videos == 1


def test_a_codec_that_no_bundle_reads_is_told_with_all_that_are_read(loaded: Bundle, other_bundle: Bundle) -> None:
    bundles = Bundles([loaded, other_bundle])
    assert bundles.of(other_bundle.codec_id, "camera 'gate'") is other_bundle
    with pytest.raises(
        CodecMismatchError, match=rf"camera 'gate' .* .bundle {loaded.name}., .* .bundle icm-other..*`bundles`"
    ):
        bundles.of(bytes(32), "camera 'gate'")


async def test_damage_on_the_clouds_disk_is_no_fault_of_who_asks_for_a_frame(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    of: StreamHeader = coded_header(loaded)
    records = coded_records(coded, 12)
    records[1] = replace(records[1], digest=1)  # it decodes to something else than it promises
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await cloud.deliver(of, records)
        path = files(tmp_path)[1]
        whole = path.read_bytes()
        path.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
        for sequence in (2, 12):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await got(cloud, sequence)
            assert refused.value.code() == grpc.StatusCode.DATA_LOSS
            assert reason_of(refused.value) == "STORED_DAMAGE"
        assert await got(cloud, 11)
