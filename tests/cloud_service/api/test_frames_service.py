"""FramesService, on a whole running cloud."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from icm.v1 import frames_pb2 as pb
from icm.v1.frames_pb2_grpc import FramesServiceStub
from tests.cloud_service.api.test_archive_service import stamp
from tests.cloud_service.parts import FRAME_US, START_US, coded_header, coded_records
from tests.cloud_service.running import running_cloud


def asked(first: int, end: int, **more: object) -> pb.ListFramesRequest:
    """For the frames from ``first`` on and before ``end``."""
    ends = {"from": stamp(START_US + (first - 1) * FRAME_US), "to": stamp(START_US + (end - 1) * FRAME_US)}
    return pb.ListFramesRequest(**({"camera": "gate"} | ends | more))  # type: ignore[arg-type]


def sequences(answer: pb.ListFramesResponse) -> list[int]:
    return [of.frame.sequence for of in answer.frames]


async def test_the_frames_of_a_stretch_are_listed_those_of_the_open_segment_included(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        frames = FramesServiceStub(cloud.channel)
        await cloud.deliver(coded_header(loaded), coded_records(coded, 25))
        answer = await frames.ListFrames(asked(8, 24))
        assert (sequences(answer), answer.more) == (list(range(8, 24)), False)
        assert answer.frames[0].capture_time == stamp(START_US + 7 * FRAME_US)
        assert answer.frames[0].bytes == len(coded_records(coded, 8)[-1].payload)
        assert answer.frames[0].frame.camera == "gate"
        answer = await frames.ListFrames(asked(1, 26, most=3))
        assert (sequences(answer), answer.more) == ([1, 2, 3], True)
        answer = await frames.ListFrames(asked(1, 26, most=1, newest=True))
        assert (sequences(answer), answer.more) == ([25], True)
        assert sequences(await frames.ListFrames(asked(40, 50))) == []
        # A segment whose file is gone takes none of the others along.
        for path in sorted((tmp_path / "records").rglob("*.icm"))[1:2]:
            path.unlink()
        assert sequences(await frames.ListFrames(asked(1, 26))) == [*range(1, 11), *range(21, 26)]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (asked(1, 2, camera="nowhere"), "there is no camera 'nowhere'"),
        (asked(2, 2), "a later 'to'"),
        (asked(1, 2 + 36_000), "an hour apart at most"),
        (pb.ListFramesRequest(camera="gate"), "give 'from'"),
        (asked(1, 2, most=1001), "most is 1001"),
    ],
)
async def test_what_cannot_be_listed_is_refused_and_named(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame], request_: pb.ListFramesRequest, said: str
) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 1))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await FramesServiceStub(cloud.channel).ListFrames(request_)
        assert said in (refused.value.details() or "")
