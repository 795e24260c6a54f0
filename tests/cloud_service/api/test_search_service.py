"""SearchService, on a whole running cloud."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import Engine, text

from cloud_service.database.opening import attach_database
from cloud_service.sightings.timeline import MOST_ACTIVITY_BYTES
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from icm.v1 import search_pb2 as pb
from icm.v1.search_pb2_grpc import SearchServiceStub
from tests.cloud_service.api.test_archive_service import detections, stamp
from tests.cloud_service.parts import FRAME_US, HEIGHT, START_US, WIDTH, BrightnessDetector, coded_header, coded_records
from tests.cloud_service.running import running_cloud

PATIENCE_SECONDS = 30.0
MINUTE_US = 60_000_000


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
        some = ends(START_US, START_US + 10 * FRAME_US)
        boxes = await search.ListBoxes(pb.ListBoxesRequest(camera="gate", **some))
        assert [of.detections.frame.sequence for of in boxes.frames] == list(range(1, 11))
        assert [(of.width, of.height) for of in boxes.frames] == [(WIDTH, HEIGHT)] * 10
        assert bright.id in boxes.frames[1].sightings
        activity = await search.GetActivity(pb.GetActivityRequest(camera="gate", **some))
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


async def test_activity_of_many_classes_comes_in_parts_that_each_fit_into_an_answer(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    start_us = START_US // MINUTE_US * MINUTE_US
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 2))
        put_activity(attach_database(f"sqlite:///{tmp_path}/cloud.db"), start_us, minutes=2000, classes=60)
        search = SearchServiceStub(cloud.channel)
        request = pb.GetActivityRequest(camera="gate", **ends(start_us, start_us + 2000 * MINUTE_US))
        parts: list[pb.GetActivityResponse] = []
        while not parts or parts[-1].HasField("next_from"):
            parts.append(await search.GetActivity(request))
            getattr(request, "from").CopyFrom(parts[-1].next_from)
    of_class = [of for part in parts for of in part.activities if any(one.class_name == "k-59" for one in of.classes)]
    assert [of.start.ToMicroseconds() for of in of_class] == [start_us + n * MINUTE_US for n in range(2000)]
    assert {len(of.classes) for of in of_class} == {60}
    assert sum(part.ByteSize() for part in parts) > 4 * 1024 * 1024
    assert max(part.ByteSize() for part in parts) < MOST_ACTIVITY_BYTES + 10_000


async def test_a_minute_whose_activity_fits_into_no_answer_is_asked_for_by_class(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    start_us = START_US // MINUTE_US * MINUTE_US
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 2))
        put_activity(attach_database(f"sqlite:///{tmp_path}/cloud.db"), start_us, minutes=1, classes=60_000)
        search = SearchServiceStub(cloud.channel)
        request = pb.GetActivityRequest(camera="gate", **ends(start_us, start_us + MINUTE_US))
        with pytest.raises(grpc.aio.AioRpcError) as wrong:
            await search.GetActivity(request)
        assert wrong.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "ask for a class at a time" in (wrong.value.details() or "")
        request.class_name = "k-7"
        (minute,) = (await search.GetActivity(request)).activities
    assert [one.class_name for one in minute.classes] == ["k-7"]


def ends(from_us: int, to_us: int) -> dict[str, Any]:
    return {"from": stamp(from_us), "to": stamp(to_us)}


def put_activity(database: Engine, start_us: int, minutes: int, classes: int) -> None:
    """Adds that each class was seen in each minute."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :last)"
    values = (
        f"'gate', 60, :start + i / :classes * {MINUTE_US}, 'k-' || (i % :classes), 'a-detector@0123456789ab', 1, 1, 0.5"
    )
    columns = "camera, seconds, start_us, class_name, model, frames, boxes, best_score"
    with database.begin() as connection:
        connection.execute(
            text(f"INSERT INTO activity ({columns}) {numbers} SELECT {values} FROM n"),
            {"start": start_us, "classes": classes, "last": minutes * classes - 1},
        )
    database.dispose()
