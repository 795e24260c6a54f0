"""SearchService, on a whole running cloud."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from icm.v1 import search_pb2 as pb
from icm.v1.search_pb2_grpc import SearchServiceStub
from tests.cloud_service.api.test_archive_service import detections, stamp
from tests.cloud_service.parts import FRAME_US, HEIGHT, START_US, WIDTH, BrightnessDetector, coded_header, coded_records
from tests.cloud_service.running import running_cloud

PATIENCE_SECONDS = 30.0


async def test_what_a_detector_found_is_searched_counted_and_drawn(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    async with running_cloud(tmp_path, loaded, BrightnessDetector()) as cloud:
        search = SearchServiceStub(cloud.channel)
        await cloud.deliver(coded_header(loaded), coded_records(coded, 25))
        await detections(cloud, 25)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                answer = await search.SearchSightings(pb.SearchSightingsRequest(classes=["bright"], cameras=["gate"]))
                if sum(of.frames for of in answer.sightings) >= 10:
                    break
                await asyncio.sleep(0.1)
        (bright,) = answer.sightings
        assert (answer.count, answer.count_goes_on, answer.next_cursor) == (1, False, "")
        assert (bright.camera, bright.class_name, bright.model) == ("gate", "bright", "brightness")
        assert bright.start == stamp(START_US + FRAME_US)
        assert bright.union_box == pb.Region(left=0, top=0, right=1, bottom=1)
        ends = {"from": stamp(START_US), "to": stamp(START_US + 10 * FRAME_US)}
        boxes = await search.ListBoxes(pb.ListBoxesRequest(camera="gate", **ends))
        assert [of.detections.frame.sequence for of in boxes.frames] == list(range(1, 11))
        assert [(of.width, of.height) for of in boxes.frames] == [(WIDTH, HEIGHT)] * 10
        assert bright.id in boxes.frames[1].sightings
        activity = await search.GetActivity(pb.GetActivityRequest(camera="gate", **ends))
        assert {of.class_name for of in activity.activities[0].classes} == {"bright", "dark"}
        assert activity.activities[0].record_bytes > 0


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (pb.SearchSightingsRequest(cursor="nonsense"), "the cursor 'nonsense' is none"),
        (pb.SearchSightingsRequest(page_size=501), "page_size is 501"),
        (pb.SearchSightingsRequest(least_score=2), "least_score is 2.0"),
        (pb.SearchSightingsRequest(region=pb.Region(left=0.5, right=0.4, bottom=1)), "the region"),
        (pb.SearchSightingsRequest(classes=["x"] * 65), "65 classes"),
        (pb.SearchSightingsRequest(cameras=["nowhere"]), "there is no camera 'nowhere'"),
        (pb.GetActivityRequest(camera="nowhere"), "there is no camera 'nowhere'"),
        (pb.ListBoxesRequest(camera=""), "there is no camera ''"),
    ],
)
async def test_what_cannot_be_asked_is_named(tmp_path: Path, loaded: Bundle, request_: object, said: str) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        search = SearchServiceStub(cloud.channel)
        name = type(request_).__name__.removesuffix("Request")
        with pytest.raises(grpc.aio.AioRpcError) as wrong:
            await getattr(search, name)(request_)
    assert wrong.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
    assert said in (wrong.value.details() or "")
