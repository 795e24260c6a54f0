"""ClipService, on a whole running cloud: any stretch of the past as a file, from videos or from records."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import av
import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from cloud_service.retention.items import Planned, Reason
from cloud_service.store import RecordStore
from icm.codec.bundle.loading import Bundle
from icm.rpc.status import reason_of
from icm.v1 import archive_pb2
from icm.v1 import clip_pb2 as pb
from tests.cloud_service.clips.recorded import at, chain, numbers, read_clip, request, shown
from tests.cloud_service.parts import START_US, BrightnessDetector, coded_header
from tests.cloud_service.retention.world import item_of
from tests.cloud_service.running import RunningCloud, running_cloud

FRAMES = 45
"""Segments of a second: 10, 10, 10, 10 and 5 frames."""
WHOLE = at(-1), at(100)


@pytest.fixture
async def cloud(tmp_path: Path, loaded: Bundle) -> AsyncIterator[RunningCloud]:
    async with running_cloud(tmp_path, loaded, BrightnessDetector()) as cloud:
        await cloud.deliver(coded_header(loaded), chain(loaded, FRAMES))
        yield cloud


async def videos(cloud: RunningCloud, count: int) -> list[str]:
    """Paths of the archive's videos, once there are so many."""
    async with asyncio.timeout(30):
        while True:
            answer = await cloud.archive.ListSegments(archive_pb2.ListSegmentsRequest(camera="gate"))
            if len(answer.segments) >= count:
                return [segment.path for segment in answer.segments]
            await asyncio.sleep(0.05)


def delete(cloud: RunningCloud, *wanted: int) -> None:
    """Deletes segments of records, as a rule of retention does."""
    store: RecordStore = cloud.app._pipeline._store
    while store.removable("gate", wanted) != set(wanted):
        threading.Event().wait(0.01)
    segments = [segment for number in wanted if (segment := store.segment("gate", number))]
    planned = [Planned(item_of(of), Reason.MAX_AGE, "records.max_age_seconds 5") for of in segments]
    assert len(cloud.app._retention._deleter.delete(planned, "test", START_US).planned) == len(wanted)


def pieces(folder: Path) -> set[str]:
    """What the render cache holds."""
    return {path.name for path in (folder / "rendered").iterdir()}


def first_picture(data: bytes) -> NDArray[np.int64]:
    with av.open(BytesIO(data)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24").astype(np.int64)


async def refusal(cloud: RunningCloud, asked: pb.ReadClipRequest) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await read_clip(cloud, asked)
    return refused.value


async def test_what_the_videos_of_the_archive_hold_is_cut_to_the_frame_and_not_rendered(
    cloud: RunningCloud, tmp_path: Path
) -> None:
    await videos(cloud, 5)
    clip = await read_clip(cloud, request(at(0.7), at(2.3)))
    found = shown(clip.data)
    assert found.frames == numbers(8, 24)
    assert found.times == pytest.approx(np.arange(16) / 10, abs=1e-3)
    assert found.seconds == pytest.approx(1.6, abs=2e-3)
    assert (clip.info.frames, clip.info.start.ToMicroseconds()) == (16, at(0.7))
    assert clip.info.duration.ToMicroseconds() == pytest.approx(1_600_000, abs=50)
    assert not clip.gaps
    assert pieces(tmp_path) == set()


async def test_what_is_in_no_video_is_rendered_from_records_and_the_same_frames_are_shown(
    cloud: RunningCloud, tmp_path: Path
) -> None:
    for path in await videos(cloud, 5):
        (tmp_path / "archive" / path).unlink()
    clip = await read_clip(cloud, request(at(0.7), at(2.3)))
    assert shown(clip.data).frames == numbers(8, 24)
    assert shown(clip.data).times == pytest.approx(np.arange(16) / 10, abs=1e-3)
    assert (clip.info.frames, clip.info.start.ToMicroseconds()) == (16, at(0.7))
    assert clip.progress[-1] == 1.0
    assert len(pieces(tmp_path)) == 3
    again = await read_clip(cloud, request(at(0.7), at(2.3)))
    assert again.data == clip.data
    assert len(pieces(tmp_path)) == 3


async def test_frames_whose_video_does_not_exist_yet_are_rendered_and_the_others_are_cut(
    cloud: RunningCloud, tmp_path: Path
) -> None:
    gone, *_ = await videos(cloud, 5)
    (tmp_path / "archive" / gone).unlink()
    clip = await read_clip(cloud, request(*WHOLE))
    assert shown(clip.data).frames == numbers(1, FRAMES + 1)
    # The first failure to read one has everything rendered.
    assert len(pieces(tmp_path)) == 5


async def test_a_segment_that_is_still_open_is_in_the_clip(tmp_path: Path, loaded: Bundle) -> None:
    async with running_cloud(tmp_path, loaded, None, **{"archive.segment_seconds": 60}) as cloud:
        await cloud.deliver(coded_header(loaded), chain(loaded, 12))
        clip = await read_clip(cloud, request(*WHOLE))
    assert shown(clip.data).frames == numbers(1, 13)


async def test_what_was_rendered_is_still_there_after_a_restart_and_is_made_anew_where_it_was_damaged(
    tmp_path: Path, loaded: Bundle
) -> None:
    flags = {"archive.url": str(tmp_path / "archive")}
    asked = request(at(0.2), at(1.9), decoder=pb.CLIP_DECODER_BASE)
    async with running_cloud(tmp_path, loaded, None, **flags) as cloud:
        await cloud.deliver(coded_header(loaded), chain(loaded, 25))
        await videos(cloud, 3)
        before = await read_clip(cloud, asked)
    left = pieces(tmp_path)
    (tmp_path / "rendered/clip-0123.mp4").write_bytes(b"of a process that was killed")
    harmed, kept = (tmp_path / "rendered" / name for name in sorted(left))
    harmed.write_bytes(harmed.read_bytes()[:-100] + bytes(100))
    async with running_cloud(tmp_path, loaded, None, **flags) as cloud:
        assert pieces(tmp_path) == left
        inode = kept.stat().st_ino
        after = await read_clip(cloud, asked)
        assert after.data == before.data
        assert kept.stat().st_ino == inode
        assert pieces(tmp_path) == left


async def test_both_decoders_show_the_same_frames_and_not_the_same_pictures(cloud: RunningCloud) -> None:
    await videos(cloud, 5)
    base = await read_clip(cloud, request(at(0), at(1), decoder=pb.CLIP_DECODER_BASE))
    usual = await read_clip(cloud, request(at(0), at(1)))
    assert shown(base.data).frames == shown(usual.data).frames == numbers(1, 11)
    assert base.data != usual.data


async def test_boxes_of_the_detector_are_drawn_into_the_pictures(cloud: RunningCloud, tmp_path: Path) -> None:
    await videos(cloud, 5)
    plain = await read_clip(cloud, request(at(0), at(1), decoder=pb.CLIP_DECODER_BASE))
    boxed = await read_clip(cloud, request(at(0), at(1), boxes=True))
    assert boxed.info.frames == plain.info.frames == 10
    assert len(pieces(tmp_path)) == 2
    # Its box is as large as the picture.
    difference = np.abs(first_picture(boxed.data) - first_picture(plain.data)).max(-1)
    assert min(edge.mean() for edge in (difference[-1], difference[:, 0], difference[:, -1])) > 60
    assert difference[30:40, 8:56].mean() < 20


async def test_a_record_that_is_damaged_costs_its_frames_and_those_that_need_them_and_is_named(
    tmp_path: Path, loaded: Bundle
) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await cloud.deliver(coded_header(loaded), chain(loaded, 45))
        await videos(cloud, 5)
        third = sorted((tmp_path / "records/gate").rglob("*.icm"))[2]
        data = bytearray(third.read_bytes())
        data[len(data) // 2] ^= 0xFF
        third.write_bytes(data)
        clip = await read_clip(cloud, request(*WHOLE, decoder=pb.CLIP_DECODER_BASE))
        found = shown(clip.data).frames
        (gap,) = clip.gaps
        lost = gap.frames
        assert 3 <= lost <= 8
        assert found == numbers(1, 31 - lost) + numbers(31, 46)
        assert gap.last.ToMicroseconds() == at(2.9)
        assert third.name in gap.reason
        # The video was made when all was well.
        assert shown((await read_clip(cloud, request(*WHOLE))).data).frames == numbers(1, 46)
        third.unlink()
        (gap,) = (await read_clip(cloud, request(*WHOLE, decoder=pb.CLIP_DECODER_BASE))).gaps
        assert (gap.frames, "is gone" in gap.reason) == (10, True)
        refused = await refusal(cloud, request(at(2.0), at(2.5), decoder=pb.CLIP_DECODER_BASE))
        assert (refused.code(), reason_of(refused)) == (grpc.StatusCode.DATA_LOSS, "STORED_DAMAGE")
        assert "nothing of the clip can be shown" in (refused.details() or "")


async def test_where_keyframes_are_gone_too_it_is_decoded_from_the_last_segment_that_stands_alone(
    tmp_path: Path, loaded: Bundle
) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await cloud.deliver(coded_header(loaded), chain(loaded, 45))
        await videos(cloud, 5)
        keyframes = sorted((tmp_path / "records/gate").rglob("*.keyframe"))
        assert len(keyframes) == 4
        for path in keyframes:
            path.unlink()
        clip = await read_clip(cloud, request(at(3.5), at(4.2), decoder=pb.CLIP_DECODER_BASE))
        assert shown(clip.data).frames == numbers(36, 43)
        # Whoever comes by makes them again.
        assert sorted((tmp_path / "records/gate").rglob("*.keyframe")) == keyframes


async def test_pictures_of_several_sizes_are_in_one_clip_as_large_as_the_largest(
    tmp_path: Path, loaded: Bundle
) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await cloud.deliver(coded_header(loaded), chain(loaded, 10))
        wide = chain(loaded, 10, first=11, width=96)
        await cloud.deliver(replace(coded_header(loaded), width=96), wide)
        await videos(cloud, 1)
        clip = await read_clip(cloud, request(*WHOLE))
    assert shown(clip.data).frames == numbers(1, 21)
    assert shown(clip.data).size == (96, 48)


async def test_videos_whose_records_are_gone_are_cut_all_the_same(cloud: RunningCloud, tmp_path: Path) -> None:
    await videos(cloud, 5)
    shutil.rmtree(tmp_path / "records/gate")
    clip = await read_clip(cloud, request(at(1.5), at(3.5)))
    assert shown(clip.data).frames == numbers(16, 36)


async def test_what_was_deleted_is_a_gap_that_says_when_and_by_which_rule(tmp_path: Path, loaded: Bundle) -> None:
    async with running_cloud(tmp_path, loaded, BrightnessDetector()) as cloud:
        await cloud.deliver(coded_header(loaded), chain(loaded, FRAMES))
        await videos(cloud, 5)
        await asyncio.to_thread(delete, cloud, 2, 3)
        answer = await read_clip(cloud, request(at(0.5), at(3.5), decoder=pb.CLIP_DECODER_BASE))
        assert shown(answer.data).frames == [*numbers(6, 11), *numbers(31, 36)]
        (gap,) = answer.gaps
        assert (gap.first.ToMicroseconds(), gap.last.ToMicroseconds(), gap.frames) == (at(1), at(2.9), 20)
        assert gap.reason.startswith("deleted on 20")
        assert gap.reason.endswith("by rule records.max_age_seconds 5")
        whole = await read_clip(cloud, request(at(0.5), at(3.5)))
        assert shown(whole.data).frames == numbers(6, 36), "their videos are still there"
        assert not whole.gaps
        gone = await refusal(cloud, request(at(1.2), at(2.5), decoder=pb.CLIP_DECODER_BASE))
        assert gone.code() is grpc.StatusCode.NOT_FOUND
        assert reason_of(gone) == "FRAME_DELETED"
        assert "20 frames were deleted, the first were deleted on 20" in (gone.details() or "")


async def test_a_stretch_that_there_cannot_be_is_refused_by_name(cloud: RunningCloud) -> None:
    wrong, nothing = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    no_time = request(at(0), at(1))
    no_time.to.seconds = 1 << 62
    for asked, code, text in (
        (request(at(2), at(1)), wrong, "ends before it begins"),
        (request(at(2), at(2)), wrong, "ends before it begins"),
        (request(at(0), at(3601)), wrong, "lasts 3601 s, and one may last 3600 s"),
        (request(0, at(0)), wrong, "ask for it in parts"),
        (request(-(10**12), 10**15), wrong, "1969-12-20T10:13:20.000Z"),
        (pb.ReadClipRequest(camera="gate"), wrong, "give both"),
        (request(at(0), at(1), decoder=7), wrong, "there is no decoder 7"),
        (no_time, wrong, "'to' is no time"),
        (request(at(-60), at(-50)), nothing, "it goes from 2026-09-21T14:13:20.000Z to 2026-09-21T14:13:24.400Z"),
        (request(at(500), at(600)), nothing, "nothing is stored of camera 'gate' between"),
        (request(at(4.31), at(4.39)), nothing, "no frame between"),
        (request(at(0), at(1), camera="nosuch"), nothing, "there is no camera 'nosuch'"),
        (request(at(0), at(1), camera=""), nothing, "there is no camera ''"),
    ):
        refused = await refusal(cloud, asked)
        assert refused.code() is code
        assert text in (refused.details() or "")


async def test_it_stops_when_the_caller_goes_away_and_leaves_nothing_behind(tmp_path: Path, loaded: Bundle) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await cloud.deliver(coded_header(loaded), chain(loaded, FRAMES))
        call = cloud.clips.ReadClip(request(*WHOLE, decoder=pb.CLIP_DECODER_BASE))
        async for answer in call:
            assert answer.WhichOneof("piece") == "progress"
            break
        call.cancel()
        # Its turn is over, so the next one's clip is made.
        clip = await read_clip(cloud, request(at(0), at(0.5), decoder=pb.CLIP_DECODER_BASE))
        assert shown(clip.data).frames == numbers(1, 6)
        assert not [name for name in pieces(tmp_path) if name.startswith("clip-")]
