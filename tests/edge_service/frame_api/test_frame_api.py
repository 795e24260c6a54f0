from __future__ import annotations

import asyncio
import struct
import threading
import zlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO

import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from PIL import ExifTags, Image

from edge_service.camera.camera import Camera
from edge_service.frame_api.service import ANSWERS_AHEAD, FrameApi, SubmittedCamera
from edge_service.frame_api.tokens import Tokens
from edge_service.rate.control import CodingParameters, RateControl, RateTarget
from edge_service.settings import CameraSettings, SubmittedSourceSettings
from edge_service.sources import SubmittedSource
from edge_service.sources.submitted import MOST_WAITING
from edge_service.spool.camera_spool import CameraSpool
from edge_service.spool.store import Spool
from edge_service.uplink.uplink import Uplink
from icm.codec.bitstream.record import RECORD_OVERHEAD, Record, StreamHeader
from icm.errors import SpoolError
from icm.rpc.channels import open_channel
from icm.rpc.servers import Server
from icm.rpc.status import reason_of
from icm.service.clock import ManualClock
from icm.v1 import camera_pb2, camera_pb2_grpc, frame_pb2
from tests.edge_service.ingest_server import Ingest, serving
from tests.edge_service.parts import CODEC_ID, PlainEncoder, fixed_quality, plain_codec

Submit = camera_pb2.SubmitFrameRequest
Frame = frame_pb2.Frame


@dataclass
class Edge:
    """A frame API on a real server, with the camera "door" behind it."""

    stub: camera_pb2_grpc.CameraServiceAsyncStub
    spool: CameraSpool
    ingest: Ingest
    encoder: PlainEncoder

    def records(self) -> list[Record]:
        batch = self.spool.read(0, 100, 1 << 20)
        if batch is None:
            return []
        header, _ = StreamHeader.parse(batch.header)
        return [Record.parse_whole(data, header) for _, data in batch.records]


@pytest.fixture
async def edge(spool: Spool, metrics, problems, clock: ManualClock) -> AsyncIterator[Edge]:
    async with edge_on(spool, metrics, problems, clock) as edge:
        yield edge


@asynccontextmanager
async def edge_on(
    spool: Spool,
    metrics,
    problems,
    clock: ManualClock,
    tokens: Tokens | None = None,
    rate_of: Callable[[CameraSpool], RateControl] = fixed_quality,
) -> AsyncIterator[Edge]:
    ingest, encoder, door = Ingest(), PlainEncoder(), spool.camera("door")
    ingest.acknowledges.clear()
    async with serving(ingest) as port:
        cloud = open_channel(f"127.0.0.1:{port}", allow_plaintext=False)
        uplink = Uplink(door, CODEC_ID, cloud, metrics, problems)
        sending = asyncio.create_task(uplink.run())
        source = SubmittedSource()
        settings = CameraSettings(name="door", source=SubmittedSourceSettings(kind="submitted"))
        rate = rate_of(door)
        camera = Camera(settings, source, plain_codec(encoder), door, rate, metrics, problems, uplink.announce)
        threads = ThreadPoolExecutor(2)
        running = asyncio.create_task(camera.run(threads))
        server = Server("127.0.0.1:0", allow_plaintext=False)
        door_camera = SubmittedCamera(source, uplink, max_pixels=20_000)
        api = FrameApi({"door": door_camera}, {"door": rate}, 7, cloud, metrics, clock, tokens)
        camera_pb2_grpc.add_CameraServiceServicer_to_server(api, server.grpc)
        await server.start()
        channel = open_channel(f"127.0.0.1:{server.port}", allow_plaintext=False)
        yield Edge(camera_pb2_grpc.CameraServiceStub(channel), door, ingest, encoder)
        await channel.close()
        encoder.open.set()
        await server.stop(5)
        camera.stop()
        assert await running
        threads.shutdown()
        ingest.acknowledges.set()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await cloud.close()


def picture(format: str, width: int = 40, height: int = 30, colour: tuple[int, ...] = (200, 100, 50)) -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), colour).save(file, format)
    return file.getvalue()


def noise(format: str) -> bytes:
    """A picture of some 10 kB."""
    file = BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 100, 3), np.uint8)).save(file, format)
    return file.getvalue()


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 2.5 billion pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


def many_scans(count: int) -> bytes:
    """A progressive JPEG with its last scan so many times."""
    file = BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 100), np.uint8)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + count * data[last:-2] + data[-2:]


def animation(format: str) -> bytes:
    file = BytesIO()
    frames = [Image.new("RGB", (8, 8), (n, 0, 0)) for n in range(3)]
    frames[0].save(file, format, save_all=True, append_images=frames[1:])
    return file.getvalue()


def raw(width: int, height: int, missing: int = 0) -> frame_pb2.RawImage:
    return frame_pb2.RawImage(width=width, height=height, rgb=bytes(3 * width * height - missing))


BAD_FRAMES = {
    "a truncated JPEG": (Frame(encoded=half(noise("JPEG"))), "cut off or damaged"),
    "a truncated PNG": (Frame(encoded=half(noise("PNG"))), "cut off or damaged"),
    "a JPEG cut off within its header": (Frame(encoded=noise("JPEG")[:20]), "cut off at its start"),
    "a PNG that is a decompression bomb": (Frame(encoded=bomb()), "50000x50000 cannot be coded"),
    "a JPEG of thousands of scans": (Frame(encoded=many_scans(6000)), "more than 64 scans"),
    "a PNG of several pictures": (Frame(encoded=animation("PNG")), "holds 3 pictures, and a frame is one"),
    "a JPEG of several pictures": (Frame(encoded=animation("MPO")), "holds 3 pictures, and a frame is one"),
    "two JPEGs at once": (Frame(encoded=2 * picture("JPEG")), "is a video of JPEG pictures"),
    "more pixels than the camera may have": (Frame(encoded=picture("PNG", 201, 100)), "more pixels than max_pixels"),
    "more raw pixels than the camera may have": (Frame(raw=raw(100, 201)), "more pixels than max_pixels, 20000"),
    "bytes that are no image": (Frame(encoded=b"GIF89a not a picture"), "no JPEG or PNG"),
    "an image of another format": (Frame(encoded=picture("BMP")), "no JPEG or PNG"),
    "no bytes": (Frame(encoded=b""), "no JPEG or PNG"),
    "no image at all": (Frame(), "holds no image"),
    "too few raw bytes": (Frame(raw=raw(4, 4, missing=1)), "has 48 bytes, here are 47"),
    "raw pixels without a size": (Frame(raw=frame_pb2.RawImage(rgb=b"abc")), "0x0 cannot be coded"),
    "a raw size beyond all bounds": (Frame(raw=frame_pb2.RawImage(width=1 << 31, height=1 << 31)), "cannot be coded"),
    "a picture that the codec refuses": (Frame(raw=raw(4, 13)), "13 rows"),
    "a capture time before 1970": (Frame(capture_time=Timestamp(seconds=-1), raw=raw(4, 4)), "after 1970"),
    "a capture time that the cloud would not take": (
        Frame(capture_time=Timestamp(seconds=253_300_000_000), raw=raw(4, 4)),
        "before the year 9987",
    ),
}


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
async def test_a_picture_becomes_a_record_and_the_answer_names_it(edge: Edge, format: str) -> None:
    answer = await edge.stub.SubmitFrame(Submit(camera="door", frame=Frame(encoded=picture(format))))
    assert (answer.frame.camera, answer.frame.epoch, answer.frame.sequence) == ("door", edge.spool.epoch, 1)
    assert answer.bytes == RECORD_OVERHEAD + 3
    assert answer.bits_per_pixel == pytest.approx(8 * answer.bytes / (40 * 30))
    assert not answer.HasField("detections")
    (record,) = edge.records()
    assert np.abs(np.frombuffer(record.payload, np.uint8).astype(int) - [200, 100, 50]).max() <= 3


async def test_raw_pixels_are_rgb_row_after_row(edge: Edge) -> None:
    image = frame_pb2.RawImage(width=2, height=1, rgb=bytes([1, 2, 3, 4, 5, 6]))
    await edge.stub.SubmitFrame(Submit(camera="door", frame=Frame(raw=image)))
    (record,) = edge.records()
    assert record.payload == bytes([1, 2, 3])


async def test_sixteen_bit_grey_keeps_its_brightness(edge: Edge) -> None:
    file = BytesIO()
    Image.fromarray(np.full((8, 8), 0x8000, np.uint16)).save(file, "PNG")
    await edge.stub.SubmitFrame(Submit(camera="door", frame=Frame(encoded=file.getvalue())))
    (record,) = edge.records()
    assert record.payload == bytes([128, 128, 128])


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
async def test_a_turned_picture_is_coded_upright(edge: Edge, format: str) -> None:
    exif, file = Image.Exif(), BytesIO()
    exif[ExifTags.Base.Orientation] = 3
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[8:] = (200, 100, 50)
    Image.fromarray(pixels).save(file, format, exif=exif)
    await edge.stub.SubmitFrame(Submit(camera="door", frame=Frame(encoded=file.getvalue())))
    (record,) = edge.records()
    assert np.abs(np.frombuffer(record.payload, np.uint8).astype(int) - [200, 100, 50]).max() <= 8


async def test_a_photo_with_a_smaller_one_behind_it_is_the_photo(edge: Edge) -> None:
    file, photo = BytesIO(), Image.new("RGB", (32, 32), (200, 100, 50))
    photo.save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (16, 16))])
    await edge.stub.SubmitFrame(Submit(camera="door", frame=Frame(encoded=file.getvalue())))
    (record,) = edge.records()
    assert np.abs(np.frombuffer(record.payload, np.uint8).astype(int) - [200, 100, 50]).max() <= 3


async def test_capture_time_and_quality_are_the_clients_or_else_the_edges(edge: Edge, clock: ManualClock) -> None:
    edge.ingest.acknowledges.set()
    own = Frame(raw=raw(4, 4), capture_time=Timestamp(seconds=1_600_000_000, nanos=5000))
    await edge.stub.SubmitFrame(Submit(camera="door", frame=own, quality=6.5))
    await edge.stub.SubmitFrame(Submit(camera="door", frame=Frame(raw=raw(4, 4))))
    await edge.ingest.until("door", 2)
    first, second = edge.ingest.of("door")
    assert (first.capture_us, first.quality) == (1_600_000_000_000_005, 104)
    assert (second.capture_us, second.quality) == (clock.now_us(), 48)


@pytest.mark.parametrize("name", BAD_FRAMES)
async def test_a_bad_frame_is_an_invalid_argument(edge: Edge, name: str, sample) -> None:
    frame, text = BAD_FRAMES[name]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.stub.SubmitFrame(Submit(camera="door", frame=frame))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert text in (caught.value.details() or "")
    assert edge.records() == []
    assert sample("icm_edge_frames_total", camera="door", outcome="refused") == 1


@pytest.mark.parametrize("quality", [-0.5, 7.5, float("nan")])
async def test_a_quality_that_the_bundle_lacks_is_an_invalid_argument(edge: Edge, quality: float) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.stub.SubmitFrame(Submit(camera="door", frame=Frame(raw=raw(4, 4)), quality=quality))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "levels go from 0 to 7" in (caught.value.details() or "")


async def test_an_unknown_camera_is_not_found_and_the_known_are_named(edge: Edge) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.stub.SubmitFrame(Submit(camera="cellar", frame=Frame(raw=raw(4, 4))))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert reason_of(caught.value) == "NOT_FOUND"
    assert "door" in (caught.value.details() or "")


async def test_a_stream_answers_in_order_and_lives_on_after_bad_frames(edge: Edge) -> None:
    requests = [Submit(camera="door", frame=Frame(raw=raw(4, 4)))]
    for frame, _ in BAD_FRAMES.values():
        requests += [Submit(camera="door", frame=frame), Submit(camera="door", frame=Frame(raw=raw(4, 4)))]
    requests.insert(1, Submit(camera="cellar", frame=Frame(raw=raw(4, 4))))
    call = edge.stub.SubmitFrames(camera_pb2.SubmitFramesRequest(submit=request) for request in requests)
    answers = [answer async for answer in call]
    assert [answer.error.code for answer in answers if answer.HasField("error")] == [5] + [3] * len(BAD_FRAMES)
    for answer, (_, text) in zip(answers[2::2], BAD_FRAMES.values(), strict=True):
        assert text in answer.error.message
    sequences = [answer.submitted.frame.sequence for answer in answers if answer.HasField("submitted")]
    assert sequences == list(range(1, len(BAD_FRAMES) + 2))


async def test_waits_for_the_detections_of_a_persisted_frame(edge: Edge) -> None:
    edge.ingest.acknowledges.set()
    request = Submit(camera="door", frame=Frame(raw=raw(4, 4)), wait_for_detections=Duration(seconds=20))
    answer = await edge.stub.SubmitFrame(request)
    assert answer.detections.frame == answer.frame
    assert [d.class_name for d in answer.detections.detections] == ["person"]


async def test_detections_are_in_pixels_of_the_picture_that_was_submitted(
    spool: Spool, metrics, problems, clock: ManualClock
) -> None:
    class Shrinking(RateControl):
        def next(self, owed: bool) -> CodingParameters:
            return CodingParameters(3.0, 0.5)

    def shrinking(door: CameraSpool) -> RateControl:
        return Shrinking("door", RateTarget(3.0), 7.0, lambda: door.waiting_bytes, 0.0, clock)

    async with edge_on(spool, metrics, problems, clock, rate_of=shrinking) as edge:
        edge.ingest.acknowledges.set()
        # 16 pixels across become 8, 9 pixels down become 4.
        request = Submit(camera="door", frame=Frame(raw=raw(16, 9)), wait_for_detections=Duration(seconds=20))
        answer = await edge.stub.SubmitFrame(request)
    (box,) = answer.detections.detections
    assert (box.left, box.top, box.right, box.bottom) == (1 * 2, 2 * 2.25, 3 * 2, 4 * 2.25)
    assert answer.bits_per_pixel == pytest.approx(8 * answer.bytes / (16 * 9))


async def test_a_spool_that_fails_once_the_picture_is_in_it_costs_the_detections_only(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(sequence: int) -> bool:
        raise SpoolError("the disk is gone")

    monkeypatch.setattr(edge.spool, "holds", failing)
    request = Submit(camera="door", frame=Frame(raw=raw(4, 4)), wait_for_detections=Duration(seconds=20))
    answer = await edge.stub.SubmitFrame(request)
    assert answer.frame.sequence == 1
    assert not answer.HasField("detections")


async def test_answers_without_detections_when_they_do_not_come_in_time(edge: Edge) -> None:
    request = Submit(camera="door", frame=Frame(raw=raw(4, 4)), wait_for_detections=Duration(nanos=50_000_000))
    answer = await edge.stub.SubmitFrame(request)
    assert answer.frame.sequence == 1
    assert not answer.HasField("detections")


async def test_a_full_spool_refuses_and_says_so(tmp_path, metrics, problems, clock: ManualClock) -> None:
    spool = Spool(tmp_path / "small", 30, 3600.0, clock)
    async with edge_on(spool, metrics, problems, clock) as edge:
        await edge.stub.SubmitFrame(Submit(camera="door", frame=Frame(raw=raw(4, 4))))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await edge.stub.SubmitFrame(Submit(camera="door", frame=Frame(raw=raw(4, 4))))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(caught.value) == "SPOOL_FULL"
    spool.close()


async def test_more_submissions_than_may_wait_are_told_to_come_back(edge: Edge) -> None:
    edge.encoder.open.clear()
    calls = [edge.stub.SubmitFrame(Submit(camera="door", frame=Frame(raw=raw(4, 4)))) for _ in range(MOST_WAITING + 4)]
    waiting = [asyncio.ensure_future(call) for call in calls]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    edge.encoder.open.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    refused = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert len(refused) + len(edge.ingest.of("door") or edge.records()) >= len(done)
    assert sorted(r.frame.sequence for r in results if not isinstance(r, BaseException)) == list(
        range(1, len(calls) - len(refused) + 1)
    )


async def test_a_stream_whose_client_goes_away_leaves_nothing_behind(edge: Edge) -> None:
    wait = Submit(camera="door", frame=Frame(raw=raw(4, 4)), wait_for_detections=Duration(seconds=500))
    call = edge.stub.SubmitFrames(camera_pb2.SubmitFramesRequest(submit=wait) for _ in range(50))
    # Its answers wait for detections that never come, and so the stream's queue is full.
    await edge.ingest.until("door", 1)
    while edge.spool.next_sequence <= ANSWERS_AHEAD + 1:
        await asyncio.to_thread(threading.Event().wait, 0.01)
    (reader,) = [task for task in asyncio.all_tasks() if "code_all" in repr(task.get_coro())]
    call.cancel()
    done, _ = await asyncio.wait([reader], timeout=20)
    assert done


async def test_a_client_that_goes_away_leaves_the_camera_working(edge: Edge) -> None:
    edge.encoder.open.clear()
    calls = [edge.stub.SubmitFrame(Submit(camera="door", frame=Frame(raw=raw(4, 4)))) for _ in range(3)]
    waiting = [asyncio.ensure_future(call) for call in calls]
    await asyncio.wait(waiting, timeout=0.1)
    for call in calls:
        call.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    edge.encoder.open.set()
    answer = await edge.stub.SubmitFrame(Submit(camera="door", frame=Frame(raw=raw(4, 4))))
    assert answer.frame.sequence >= 1
