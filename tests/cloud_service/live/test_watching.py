"""WatchFrames against a whole cloud: which frames come, how many, and what is said of cameras that send nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from cloud_service.api import live_service
from cloud_service.live import shown, states
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.codec.encoder import CodedFrame
from icm.rpc.status import reason_of
from icm.rpc.tls import MutualTlsSettings
from icm.v1 import live_pb2 as pb
from icm.v1.archive_pb2 import GetDetectionsRequest
from icm.v1.frame_pb2 import FrameRef
from icm.v1.live_pb2_grpc import LiveServiceStub
from tests.certificates import Certificates
from tests.cloud_service.parts import EPOCH, HEIGHT, START_US, WIDTH, BrightnessDetector, coded_header, coded_records
from tests.cloud_service.running import RunningCloud, running_cloud

PATIENCE_SECONDS = 30.0


@pytest.fixture
async def cloud(tmp_path: Path, loaded: Bundle) -> AsyncIterator[RunningCloud]:
    async with running_cloud(tmp_path, loaded, BrightnessDetector()) as cloud:
        yield cloud


@pytest.fixture
def jpegs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Widths of the pictures that were compressed."""
    made: list[int] = []
    real = shown.jpeg_of

    def counted(picture: Any, width: int) -> bytes:
        made.append(width)
        return real(picture, width)

    monkeypatch.setattr(shown, "jpeg_of", counted)
    return made


@asynccontextmanager
async def watching(
    cloud: RunningCloud, *cameras: str, width: int = 0, fps: float = 0.0
) -> AsyncIterator[AsyncIterator[pb.WatchFramesResponse]]:
    call = LiveServiceStub(cloud.channel).WatchFrames(
        pb.WatchFramesRequest(cameras=cameras, max_width=width, max_fps=fps), timeout=PATIENCE_SECONDS
    )
    await call.initial_metadata()
    try:
        yield aiter(call)
    finally:
        call.cancel()


async def frame_of(watch: AsyncIterator[pb.WatchFramesResponse], least: int = 1) -> pb.WatchFramesResponse:
    """The next message that has a frame of at least this sequence."""
    while True:
        message = await anext(watch)
        if message.HasField("frame") and message.frame.frame.sequence >= least:
            return message


async def state_of(watch: AsyncIterator[pb.WatchFramesResponse], state: pb.LiveState) -> pb.WatchFramesResponse:
    """The next message that tells of this state."""
    while (message := await anext(watch)).state != state:
        pass
    return message


async def looked_at(cloud: RunningCloud, sequence: int, camera: str = "gate") -> None:
    request = GetDetectionsRequest(frame=FrameRef(camera=camera, epoch=EPOCH, sequence=sequence))
    await cloud.archive.GetDetections(request, timeout=PATIENCE_SECONDS)


async def test_a_watcher_gets_the_very_frame_that_the_detector_saw_with_what_it_found(
    cloud: RunningCloud, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    records = coded_records(coded, 2)
    async with watching(cloud, "gate") as watch:
        assert (await anext(watch)).state == pb.LIVE_STATE_EMPTY
        await cloud.deliver(coded_header(loaded), records[:1])
        dark = await frame_of(watch)
        await cloud.deliver(coded_header(loaded), records)
        bright = await frame_of(watch, 2)
    for message, record, name in ((dark, records[0], "dark"), (bright, records[1], "bright")):
        frame = message.frame
        assert (message.camera, frame.frame.camera, frame.frame.epoch) == ("gate", "gate", EPOCH)
        assert frame.frame.sequence == record.sequence
        assert frame.capture_time.ToMicroseconds() == record.capture_us
        assert frame.stored_time.ToMicroseconds() > record.capture_us
        assert (frame.width, frame.height) == (WIDTH, HEIGHT)
        assert [found.class_name for found in frame.detections.detections] == [name]
        assert frame.detections.frame == frame.frame
        assert frame.reused_from == 0
        with Image.open(BytesIO(frame.jpeg)) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        assert np.abs(pixels - Decoder(loaded).decode(record, WIDTH, HEIGHT)).mean() < 3


async def test_a_frame_that_took_detections_over_is_shown_itself_and_says_from_which(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    same = coded_records(coded[:1], 2)
    reuses = {"detector.kind": "yolo"}
    async with (
        running_cloud(tmp_path, loaded, BrightnessDetector(), **reuses) as cloud,
        watching(cloud, "gate") as watch,
    ):
        await cloud.deliver(coded_header(loaded), same[:1])
        assert (await frame_of(watch)).frame.reused_from == 0
        await cloud.deliver(coded_header(loaded), same)
        second = (await frame_of(watch, 2)).frame
    assert (second.frame.sequence, second.reused_from) == (2, 1)
    assert [found.class_name for found in second.detections.detections] == ["bright"]
    assert second.jpeg


async def test_a_picture_is_made_once_for_all_who_watch_and_not_at_all_where_nobody_does(
    cloud: RunningCloud, loaded: Bundle, coded: list[CodedFrame], jpegs: list[int]
) -> None:
    await cloud.deliver(coded_header(loaded), coded_records(coded, 3))
    await looked_at(cloud, 3)
    async with watching(cloud, "yard"):
        await cloud.deliver(coded_header(loaded), coded_records(coded, 4)[3:])
        await looked_at(cloud, 4)
    assert jpegs == []
    async with watching(cloud, "gate") as one, watching(cloud) as other, watching(cloud, "gate") as third:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 5)[4:])
        same = {(await frame_of(watch, 5)).frame.jpeg for watch in (one, other, third)}
    assert len(same) == 1
    assert jpegs.count(WIDTH) == len(jpegs) <= 2, "of frame 4, if it was quick, and of frame 5"


async def test_of_a_camera_in_which_nothing_changes_one_picture_is_made(
    cloud: RunningCloud, loaded: Bundle, coded: list[CodedFrame], jpegs: list[int]
) -> None:
    same = coded_records(coded[:1], 3)
    async with watching(cloud, "gate") as watch:
        pictures = []
        for record in same:
            await cloud.deliver(coded_header(loaded), [record])
            message = await frame_of(watch, record.sequence)
            pictures.append(message.frame.jpeg)
        assert message.frame.capture_time.ToMicroseconds() == same[-1].capture_us
    assert len(set(pictures)) == 1
    assert jpegs == [WIDTH]


async def test_a_still_of_a_silent_camera_comes_soon_with_its_state(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    async with running_cloud(tmp_path, loaded, BrightnessDetector()) as cloud:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 3))
        await looked_at(cloud, 3)
    async with running_cloud(tmp_path, loaded, BrightnessDetector()) as cloud, watching(cloud, "gate") as watch:
        first = await anext(watch)
        still = await frame_of(watch)
    assert (first.camera, first.state, first.HasField("frame")) == ("gate", pb.LIVE_STATE_SILENT, False)
    assert first.age.ToMicroseconds() == pytest.approx(time.time_ns() / 1000 - START_US - 200_000, abs=60e6)
    assert (still.frame.frame.sequence, still.state) == (3, pb.LIVE_STATE_SILENT)
    assert [found.class_name for found in still.frame.detections.detections] == ["dark"]


async def test_frames_of_long_ago_are_late_and_those_of_now_are_not(
    cloud: RunningCloud, loaded: Bundle, coded: list[CodedFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "PATIENCE_SECONDS", 1.5)
    now_us = time.time_ns() // 1000
    old = coded_records(coded, 1)
    new = [coded[1].record(2, now_us)]
    async with watching(cloud, "gate") as watch:
        await cloud.deliver(coded_header(loaded), old)
        assert (await frame_of(watch)).state == pb.LIVE_STATE_LATE
        await cloud.deliver(coded_header(loaded), new)
        live = await frame_of(watch, 2)
        assert live.state == pb.LIVE_STATE_LIVE
        assert 0 <= live.age.ToMicroseconds() < 60e6
        silent = await state_of(watch, pb.LIVE_STATE_SILENT)
    assert not silent.HasField("frame")
    assert silent.age.ToMicroseconds() > live.age.ToMicroseconds()


async def test_who_reads_slowly_gets_the_newest_and_no_frame_twice(
    cloud: RunningCloud, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    async with watching(cloud, "gate") as slow:
        uplinked = 0
        while uplinked < 60:
            await cloud.deliver(coded_header(loaded), coded_records(coded, uplinked + 4)[uplinked:])
            uplinked += 4
            await looked_at(cloud, uplinked)
        seen = [(await frame_of(slow)).frame.frame.sequence]
        while seen[-1] < uplinked:
            seen.append((await frame_of(slow)).frame.frame.sequence)
    assert seen == sorted(set(seen))


async def test_pictures_are_scaled_down_to_what_was_asked_for(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    wide = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    for width, made in ((0, 400), (320, 320), (399, 320), (200, 160), (4000, 400)):
        with Image.open(BytesIO(shown.jpeg_of(wide, min(shown.fitting_width(width), 400)))) as picture:
            assert picture.size == (made, made * 3 // 4)


@pytest.mark.parametrize(
    ("request_of", "named"),
    [
        (pb.WatchFramesRequest(cameras=["../etc"]), "camera name"),
        (pb.WatchFramesRequest(cameras=["gate"], max_width=3), "max_width"),
        (pb.WatchFramesRequest(cameras=["gate"], max_fps=-1), "max_fps"),
        (pb.WatchFramesRequest(cameras=["gate"], max_fps=float("nan")), "max_fps"),
        (pb.WatchFramesRequest(cameras=[f"c{n}" for n in range(257)]), "257 cameras"),
    ],
)
async def test_what_cannot_be_shown_is_refused_by_name(
    cloud: RunningCloud, request_of: pb.WatchFramesRequest, named: str
) -> None:
    call = LiveServiceStub(cloud.channel).WatchFrames(request_of, timeout=PATIENCE_SECONDS)
    with pytest.raises(grpc.aio.AioRpcError, match=named) as refused:
        await call.read()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_streams_of_one_caller_are_bounded_and_those_that_ended_make_room(
    cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_service, "MOST_STREAMS", 1)
    async with watching(cloud, "gate"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async with watching(cloud, "gate") as watch:
                await anext(watch)
        assert reason_of(refused.value) == "BUSY"
    answer = None
    while answer is None:  # the one before may not have ended yet
        with suppress(grpc.aio.AioRpcError):
            async with watching(cloud, "gate") as watch:
                answer = await anext(watch)
    assert answer.state == pb.LIVE_STATE_EMPTY


async def test_the_stream_ends_in_order_where_the_cloud_stops(tmp_path: Path, loaded: Bundle) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        call = LiveServiceStub(cloud.channel).WatchFrames(pb.WatchFramesRequest(cameras=["gate"]))
        assert (await anext(aiter(call))).state == pb.LIVE_STATE_EMPTY
        stopping = asyncio.create_task(cloud.app.stop())
        with pytest.raises(StopAsyncIteration):
            await anext(aiter(call))
        assert await call.code() is grpc.StatusCode.OK
        await stopping
        # Stopped here already.
        cloud.app = type("Stopped", (), {"stop": staticmethod(lambda: asyncio.sleep(0))})()


async def test_over_tls_a_caller_watches_the_cameras_that_its_certificate_names(tmp_path: Path, loaded: Bundle) -> None:
    certificates = Certificates(tmp_path / "certs")
    server = certificates.server()
    flags = {f"ingest.tls.{name}": str(getattr(server, name)) for name in ("certificate", "key", "authority")}
    for holder, may, may_not in (
        (certificates.edge("north", "gate"), ("gate",), ("yard", "")),
        (certificates.reader(), ("gate", ""), ()),
    ):
        own = MutualTlsSettings(certificate=holder.certificate, key=holder.key, authority=holder.authority)
        async with running_cloud(tmp_path / holder.certificate.stem, loaded, None, tls=own, **flags) as cloud:
            for camera in may:
                async with watching(cloud, *filter(None, [camera])):
                    pass
            for camera in may_not:
                call = LiveServiceStub(cloud.channel).WatchFrames(
                    pb.WatchFramesRequest(cameras=filter(None, [camera])), timeout=PATIENCE_SECONDS
                )
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call.read()
                assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
