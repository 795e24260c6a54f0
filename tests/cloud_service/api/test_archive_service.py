"""ArchiveService, on a whole running cloud."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import av
import grpc
import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray
from PIL import Image

from cloud_service.api import archive_service
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.codec.encoder import CodedFrame
from icm.codec.latents.latents import Latents
from icm.rpc.status import reason_of
from icm.v1 import archive_pb2 as pb
from icm.v1.frame_pb2 import FrameDetections, FrameRef
from tests.cloud_service.parts import (
    EPOCH,
    FRAME_US,
    HEIGHT,
    START_US,
    WIDTH,
    BrightnessDetector,
    coded_header,
    coded_records,
)
from tests.cloud_service.running import RunningCloud, running_cloud

PATIENCE_SECONDS = 60.0
MESSAGE_BYTES = 4 << 20
"""The largest that a client takes unless told otherwise."""


@pytest.fixture
async def cloud(tmp_path: Path, loaded: Bundle) -> AsyncIterator[RunningCloud]:
    async with running_cloud(tmp_path, loaded, BrightnessDetector()) as cloud:
        yield cloud


def frame(sequence: int, camera: str = "gate") -> FrameRef:
    return FrameRef(camera=camera, epoch=EPOCH, sequence=sequence)


def stamp(microseconds: int) -> Timestamp:
    result = Timestamp()
    result.FromMicroseconds(microseconds)
    return result


async def detections(cloud: RunningCloud, sequence: int, patience: float = PATIENCE_SECONDS) -> FrameDetections:
    request = pb.GetDetectionsRequest(frame=frame(sequence))
    return (await cloud.archive.GetDetections(request, timeout=patience)).detections


async def refusal(cloud: RunningCloud, sequence: int) -> grpc.aio.AioRpcError:
    """How the cloud answers who asks for a frame's detections and has all the time there is."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await detections(cloud, sequence)
    return refused.value


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8))


def test_the_largest_picture_fits_into_an_answer_as_the_contract_says() -> None:
    largest = noise(2896, 2896)
    jpeg = pb.GetFrameResponse(image=archive_service._jpeg(largest), capture_time=stamp(START_US))
    assert jpeg.ByteSize() <= MESSAGE_BYTES
    assert Image.open(BytesIO(jpeg.image)).size == largest.size
    assert len(archive_service._jpeg(noise(1000, 1000))) > 300_000, "what fits has its full quality"
    assert largest.width * largest.height * 3 < (32 << 20) - (1 << 20), "a PNG of noise is as large as its pixels"


async def test_a_picture_that_would_be_too_large_comes_in_less_quality(
    cloud: RunningCloud, loaded: Bundle, coded: list[CodedFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    await cloud.deliver(coded_header(loaded), coded_records(coded, 1))
    request = pb.GetFrameRequest(frame=frame(1), format=pb.IMAGE_FORMAT_JPEG)
    whole = await cloud.archive.GetFrame(request, timeout=PATIENCE_SECONDS)
    monkeypatch.setattr(archive_service, "MOST_ANSWER_BYTES", len(whole.image) - 1)
    smaller = await cloud.archive.GetFrame(request, timeout=PATIENCE_SECONDS)
    assert len(smaller.image) < len(whole.image)
    assert Image.open(BytesIO(smaller.image)).size == (WIDTH, HEIGHT)


async def test_cameras_are_listed_with_what_is_stored_of_them(
    cloud: RunningCloud, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    assert not (await cloud.archive.ListCameras(pb.ListCamerasRequest())).cameras
    for camera in ("yard", "gate"):
        await cloud.deliver(coded_header(loaded, camera), coded_records(coded, 3))
    cameras = (await cloud.archive.ListCameras(pb.ListCamerasRequest())).cameras
    assert [camera.name for camera in cameras] == ["gate", "yard"]
    assert cameras[0].records == 3
    assert cameras[0].bytes > sum(len(record.payload) for record in coded_records(coded, 3))
    assert cameras[0].first_capture == stamp(START_US)
    assert cameras[0].last_capture == stamp(START_US + 2 * FRAME_US)


async def test_a_frame_as_png_holds_the_decoders_very_pixels(
    cloud: RunningCloud, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    records = coded_records(coded, 2)
    await cloud.deliver(coded_header(loaded), records)
    answer = await cloud.archive.GetFrame(pb.GetFrameRequest(frame=frame(2), format=pb.IMAGE_FORMAT_PNG))
    with Image.open(BytesIO(answer.image)) as picture:
        assert picture.format == "PNG"
        assert np.array_equal(np.asarray(picture), Decoder(loaded).decode(records[1], WIDTH, HEIGHT))
    assert answer.capture_time == stamp(START_US + FRAME_US)


async def test_a_frame_is_a_jpeg_unless_asked_otherwise(
    cloud: RunningCloud, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    await cloud.deliver(coded_header(loaded), coded_records(coded, 1))
    answer = await cloud.archive.GetFrame(pb.GetFrameRequest(frame=frame(1)))
    with Image.open(BytesIO(answer.image)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (WIDTH, HEIGHT))


async def test_callers_that_go_away_make_no_room_for_more_pictures_to_be_decoded_at_once(
    cloud: RunningCloud, loaded: Bundle, coded: list[CodedFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    await cloud.deliver(coded_header(loaded), coded_records(coded, 1))
    lock, begun, go_on = threading.Lock(), [], threading.Event()
    decode = Decoder.picture

    def slow(decoder: Decoder, latents: Latents) -> NDArray[np.uint8]:
        with lock:
            begun.append(latents)
        go_on.wait(PATIENCE_SECONDS)
        return decode(decoder, latents)

    # Not before the detector is done with it, which decodes too.
    await detections(cloud, 1)
    monkeypatch.setattr(Decoder, "picture", slow)
    request = pb.GetFrameRequest(frame=frame(1))
    try:
        for _ in range(5):
            with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
                await cloud.archive.GetFrame(request, timeout=0.3)
        assert len(begun) == 2
    finally:
        go_on.set()
    assert (await cloud.archive.GetFrame(request, timeout=PATIENCE_SECONDS)).image


async def test_a_frame_that_is_not_stored_is_not_found(cloud: RunningCloud) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await cloud.archive.GetFrame(pb.GetFrameRequest(frame=frame(99)))
    assert (missing.value.code(), reason_of(missing.value)) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


async def test_detections_of_a_frame_can_be_asked_for_before_it_comes(
    cloud: RunningCloud, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    asked = asyncio.create_task(detections(cloud, 2))
    await cloud.deliver(coded_header(loaded), coded_records(coded, 3))
    found = await asked
    assert found.frame == frame(2)
    assert found.capture_time == stamp(START_US + FRAME_US)
    assert found.model == "brightness"
    assert [(item.class_name, item.right, item.bottom) for item in found.detections] == [("bright", WIDTH, HEIGHT)]
    assert await detections(cloud, 2) == found


async def test_detections_of_a_frame_that_was_skipped_are_refused_at_once_with_the_reason(
    cloud: RunningCloud, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    before = asyncio.create_task(refusal(cloud, 2))
    first, second, third = coded_records(coded, 3)
    await cloud.deliver(coded_header(loaded), [first, replace(second, digest=second.digest ^ 1), third])
    await detections(cloud, 3)
    for error in (await before, await refusal(cloud, 2)):
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.NOT_FOUND, "FRAME_SKIPPED")
        assert "frame 2 of 'gate' was skipped" in (error.details() or "")


async def test_a_cloud_without_a_detector_says_so_at_once(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 1))
        error = await refusal(cloud, 1)
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "detector.kind" in (error.details() or "")


async def test_asking_for_detections_ends_at_the_callers_deadline(cloud: RunningCloud) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await detections(cloud, 5, patience=0.05)
    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def first_of(
    watch: grpc.aio.UnaryStreamCall[pb.WatchDetectionsRequest, pb.WatchDetectionsResponse], count: int
) -> AsyncIterator[pb.WatchDetectionsResponse]:
    """The first answers; then the call is cancelled."""
    for _ in range(count):
        answer = await watch.read()
        assert isinstance(answer, pb.WatchDetectionsResponse)
        yield answer
    watch.cancel()


async def test_a_watcher_sees_its_cameras_detections_as_they_are_made(
    cloud: RunningCloud, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    watch = cloud.archive.WatchDetections(pb.WatchDetectionsRequest(camera="gate"))
    await watch.initial_metadata()
    await cloud.deliver(coded_header(loaded, "yard"), coded_records(coded, 2))
    await cloud.deliver(coded_header(loaded), coded_records(coded, 3))
    seen = [answer.detections.frame async for answer in first_of(watch, 3)]
    assert seen == [frame(1), frame(2), frame(3)]


async def test_segments_are_listed_and_their_files_play(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_cloud(tmp_path, loaded, BrightnessDetector()) as cloud:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 60))
        await detections(cloud, 60)
    async with running_cloud(tmp_path, loaded, BrightnessDetector()) as cloud:
        listed = (await cloud.archive.ListSegments(pb.ListSegmentsRequest(camera="gate"))).segments
        middle = await cloud.archive.ListSegments(
            pb.ListSegmentsRequest(
                camera="gate", to=stamp(START_US + 2_000_000), **{"from": stamp(START_US + 1_500_000)}
            )
        )
        monkeypatch.setattr(archive_service, "MOST_SEGMENTS", 4)
        begun = await cloud.archive.ListSegments(pb.ListSegmentsRequest(camera="gate"))
        last = begun.segments[-1]
        end = stamp(last.start.ToMicroseconds() + last.duration.ToMicroseconds())
        rest = await cloud.archive.ListSegments(pb.ListSegmentsRequest(camera="gate", **{"from": end}))
    assert (begun.more, rest.more) == (True, False)
    assert [*begun.segments, *(one for one in rest.segments if one not in begun.segments)] == list(listed)
    assert [segment.frames for segment in listed] == [10] * 6
    assert listed[1].start == stamp(START_US + 1_000_000)
    assert listed[1].duration.ToMicroseconds() == pytest.approx(1_000_000, abs=100)
    assert list(middle.segments) == [listed[1]]
    with av.open(str(tmp_path / "archive" / listed[0].path), "r") as container:
        assert len(list(container.decode(video=0))) == 10
    assert (tmp_path / "archive" / listed[0].thumbnail_path).stat().st_size > 0


@pytest.mark.parametrize("call", ["GetFrame", "GetDetections"])
@pytest.mark.parametrize(("epoch", "sequence"), [(2**64 - 1, 1), (1, 2**64 - 1), (1, 2**32)])
async def test_a_number_beyond_every_one_there_can_be_is_not_found(
    cloud: RunningCloud, call: str, epoch: int, sequence: int
) -> None:
    request = {"GetFrame": pb.GetFrameRequest, "GetDetections": pb.GetDetectionsRequest}[call]
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await getattr(cloud.archive, call)(request(frame=FrameRef(camera="gate", epoch=epoch, sequence=sequence)))
    assert (missing.value.code(), reason_of(missing.value)) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


@pytest.mark.parametrize("seconds", [-(2**63), 2**63 - 1])
async def test_a_time_that_no_calendar_knows_is_named(
    cloud: RunningCloud, loaded: Bundle, coded: list[CodedFrame], seconds: int
) -> None:
    await cloud.deliver(coded_header(loaded), coded_records(coded, 1))
    with pytest.raises(grpc.aio.AioRpcError, match="'to' is no time") as wrong:
        await cloud.archive.ListSegments(pb.ListSegmentsRequest(camera="gate", to=Timestamp(seconds=seconds)))
    assert wrong.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_segments_of_an_unknown_camera_are_not_found(cloud: RunningCloud) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await cloud.archive.ListSegments(pb.ListSegmentsRequest(camera="nowhere"))
    assert missing.value.code() == grpc.StatusCode.NOT_FOUND
    assert "ListCameras" in (missing.value.details() or "")
