"""InspectService, on a whole running cloud."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

from icm.codec.bitstream.record import Kind, Record
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.codec.encoder import CodedFrame, Encoder
from icm.proof.chain import Block, Head
from icm.v1 import archive_pb2, clip_pb2
from icm.v1 import inspect_pb2 as pb
from icm.v1.frame_pb2 import FrameRef
from icm.v1.inspect_pb2_grpc import InspectServiceStub
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


@pytest.fixture(scope="module")
def walk(loaded: Bundle) -> list[Record]:
    """Records of something that walks through a still scene, each of which refers to the one before."""
    random, encoder, records = np.random.default_rng(3), Encoder(loaded), []
    scene = random.integers(80, 160, (HEIGHT // 8, WIDTH // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    for number in range(1, 17):
        picture = scene.copy()
        picture[:, 2 * number : 2 * number + 8] = 230
        records.append(encoder.encode(picture, 4).record(number, START_US + (number - 1) * FRAME_US))
    assert [record.kind for record in records] == [Kind.I] + 15 * [Kind.P]
    return records


@pytest.fixture
async def cloud(tmp_path: Path, loaded: Bundle) -> AsyncIterator[RunningCloud]:
    async with running_cloud(tmp_path, loaded, BrightnessDetector()) as cloud:
        yield cloud


def frame(sequence: int, camera: str = "gate") -> FrameRef:
    return FrameRef(camera=camera, epoch=EPOCH, sequence=sequence)


async def inspected(cloud: RunningCloud, sequence: int) -> pb.InspectFrameResponse:
    stub = InspectServiceStub(cloud.channel)
    request = pb.InspectFrameRequest(frame=frame(sequence))
    answer: pb.InspectFrameResponse = await stub.InspectFrame(request, timeout=PATIENCE_SECONDS)
    return answer


async def test_a_frame_is_told_as_its_record_came(cloud: RunningCloud, loaded: Bundle, walk: list[Record]) -> None:
    header, records = coded_header(loaded), walk[:3]
    await cloud.deliver(header, records)
    for record in records:
        seen = await inspected(cloud, record.sequence)
        expected = pb.CODED_AS_INTRA if record.sequence == 1 else pb.CODED_AS_INTER_WITH_MOTION
        assert (seen.coded_as, seen.reference) == (expected, record.sequence - 1)
        assert (seen.width, seen.height, seen.quality_sixteenths) == (WIDTH, HEIGHT, record.quality)
        assert (seen.record_bytes, seen.payload_bytes) == (len(record.pack(header)), len(record.payload))
        assert (seen.digest, seen.codec_id, seen.codec) == (record.digest, loaded.codec_id, loaded.name)
        assert seen.capture_time.ToMicroseconds() == START_US + (record.sequence - 1) * FRAME_US
        assert seen.columns == -(-WIDTH // 16)
        assert len(seen.bits) == seen.columns * -(-HEIGHT // 16)
        assert sum(seen.bits) == pytest.approx(8 * len(record.payload), rel=1e-4)
    assert seen.previous == frame(2)
    assert not seen.HasField("next")
    assert (await inspected(cloud, 1)).next == frame(2)
    assert not (await inspected(cloud, 1)).HasField("previous")


async def test_every_detector_that_looked_is_told(cloud: RunningCloud, loaded: Bundle, coded: list[CodedFrame]) -> None:
    await cloud.deliver(coded_header(loaded), coded_records(coded, 1))
    request = archive_pb2.GetDetectionsRequest(frame=frame(1))
    found = (await cloud.archive.GetDetections(request, timeout=PATIENCE_SECONDS)).detections
    assert list((await inspected(cloud, 1)).detections) == [found]


async def test_a_frame_that_begins_a_segment_shows_the_record_that_was_sent_and_not_its_keyframe(
    cloud: RunningCloud, loaded: Bundle, walk: list[Record]
) -> None:
    await cloud.deliver(coded_header(loaded), walk)
    by_number = {number: await inspected(cloud, number) for number in range(1, 17)}
    first = min(number for number, seen in by_number.items() if seen.segment != 1)
    # Once more, now that it has a keyframe for sure.
    seen = await inspected(cloud, first)
    assert seen.coded_as == pb.CODED_AS_INTER_WITH_MOTION
    assert seen.payload_bytes == len(walk[first - 1].payload)
    assert seen.bits == by_number[first].bits
    assert seen.previous == frame(first - 1)
    before = await inspected(cloud, first - 1)
    assert (before.next, before.sealed) == (frame(first), True)


async def test_a_sealed_segment_is_told_with_the_block_of_the_chain_that_speaks_of_it(
    cloud: RunningCloud, loaded: Bundle, walk: list[Record]
) -> None:
    await cloud.deliver(coded_header(loaded), walk)
    assert not (await inspected(cloud, 1)).HasField("chain")
    await asyncio.to_thread(cloud.app._keeper.settle, "gate")
    seen = await inspected(cloud, 1)
    block, head = Block.of(seen.chain.block.encode()), Head.of(seen.chain.head.encode())
    assert block.first_number <= seen.segment <= block.last_number
    assert head.hash == hashlib.sha256(seen.chain.block.encode()).digest()
    assert head.holds()


async def test_the_base_decoder_gives_the_picture_from_before_its_finetuning(
    cloud: RunningCloud, loaded: Bundle, walk: list[Record]
) -> None:
    records = walk[:2]
    await cloud.deliver(coded_header(loaded), records)
    assert (await inspected(cloud, 2)).has_base_decoder
    pictures = {}
    for decoder in (clip_pb2.CLIP_DECODER_FINETUNED, clip_pb2.CLIP_DECODER_BASE):
        request = archive_pb2.GetFrameRequest(frame=frame(2), format=archive_pb2.IMAGE_FORMAT_PNG, decoder=decoder)
        answer = await cloud.archive.GetFrame(request)
        pictures[decoder] = np.asarray(Image.open(BytesIO(answer.image)))
    decoders = Decoder(loaded.unfinetuned()), Decoder(loaded)
    base, finetuned = ([decoder.decode(record, WIDTH, HEIGHT) for record in records][-1] for decoder in decoders)
    assert np.array_equal(pictures[clip_pb2.CLIP_DECODER_BASE], base)
    assert np.array_equal(pictures[clip_pb2.CLIP_DECODER_FINETUNED], finetuned)
    assert not np.array_equal(base, finetuned)


async def test_a_frame_that_is_not_there_and_a_decoder_that_is_none_are_refused(
    cloud: RunningCloud, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    await cloud.deliver(coded_header(loaded), coded_records(coded, 1))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await inspected(cloud, 9)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError, match="GetFrame: there is no decoder 9") as unknown:
        await cloud.archive.GetFrame(archive_pb2.GetFrameRequest(frame=frame(1), decoder=9))  # type: ignore[arg-type]
    assert unknown.value.code() is grpc.StatusCode.INVALID_ARGUMENT
