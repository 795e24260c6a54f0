"""Readers and retention in one running cloud: what is being read stays, and where it goes all the same, readers say so.

Everything that is sealed is due at once: frames are of months ago, and the limit is a day.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from cloud_service.api.frames_service import FramesService
from cloud_service.clips import latents
from cloud_service.database.opening import attach_database
from cloud_service.events.store import EventStore
from cloud_service.evidence import camera_export
from cloud_service.feedback import leases
from cloud_service.redetection.detection_process import DetectionProcess
from cloud_service.redetection.jobs import Counts, Order, RedetectionJobs
from cloud_service.redetection.weights import Weights
from cloud_service.store import RecordStore
from icm.client.cloud import AsyncCloudClient
from icm.codec.bundle.loading import Bundle
from icm.evidence.case import parse_case
from icm.evidence.layout import CASE
from icm.frame_id import FrameId
from icm.rpc.status import reason_of
from icm.v1 import archive_pb2 as pb
from icm.v1 import clip_pb2
from icm.v1.frames_pb2 import ListFramesRequest
from icm.v1.frames_pb2_grpc import FramesServiceStub
from tests.cases import EPOCH, at, coded_stream, contents, moving_square
from tests.cloud_service.clips.recorded import Answer, read_clip, request
from tests.cloud_service.parts import FRAME_US, START_US
from tests.cloud_service.redetection.parts import ALWAYS, weights_in
from tests.cloud_service.running import RunningCloud, running_cloud

PATIENCE_SECONDS = 60.0


class Gate:
    """Holds a thread up in a function, from its ``nth`` call on, until it is opened."""

    def __init__(self, owner: Any, name: str, patch: pytest.MonkeyPatch, nth: int = 1) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        function, calls = getattr(owner, name), [0]

        def held_up(*args: Any, **named: Any) -> Any:
            calls[0] += 1
            if calls[0] >= nth:
                self.reached.set()
                assert self.opened.wait(PATIENCE_SECONDS)
            return function(*args, **named)

        patch.setattr(owner, name, held_up)

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """The thread stands still while the block runs."""
        try:
            assert await asyncio.to_thread(self.reached.wait, PATIENCE_SECONDS)
            yield
        finally:
            self.opened.set()


@dataclass
class Site:
    """A cloud with three sealed segments of ten frames of two cameras, of which one is read."""

    cloud: RunningCloud
    folder: Path

    def files(self, camera: str) -> list[int]:
        """Numbers of the segments whose files are there."""
        return sorted(int(path.stem[-6:]) for path in (self.folder / "records" / camera).rglob("*.icm"))

    def run_retention(self) -> None:
        """Has the service make a pass, which deletes all of the camera that nobody reads."""
        state = self.cloud.app._retention.state
        before = state.last_success_us
        (self.folder / "records" / "retention.run").touch()
        for _ in range(int(PATIENCE_SECONDS / 0.05)):
            if state.last_success_us != before and not self.files("yard"):
                return
            threading.Event().wait(0.05)
        raise AssertionError(f"retention does not delete: {state}")


@pytest.fixture
async def site(tmp_path: Path, loaded: Bundle) -> AsyncIterator[Site]:
    header, records = coded_stream(loaded, "gate", moving_square(30))
    async with running_cloud(tmp_path, loaded, None, **{"retention.records.max_age_seconds": 86_400}) as cloud:
        site = Site(cloud, tmp_path)
        for camera in ("gate", "yard"):
            await cloud.deliver(replace(header, camera=camera), records)
        # The index is written a moment after a segment is sealed, and the archive comes by.
        store: RecordStore = cloud.app._pipeline._store
        for camera in ("gate", "yard"):
            for _ in range(int(PATIENCE_SECONDS / 0.05)):
                third = store.segment(camera, 3)
                if third is not None and third.sealed and store.removable(camera, {1, 2, 3}) == {1, 2, 3}:
                    break
                await asyncio.sleep(0.05)
        yield site


async def during(gate: Gate, reading: Awaitable[Any], act: Callable[[], None]) -> Any:
    """Reads, and does something while the reader is held up; what the reader got."""
    task = asyncio.ensure_future(reading)
    try:
        async with gate.holding():
            await asyncio.to_thread(act)
        return await asyncio.wait_for(task, PATIENCE_SECONDS)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await task


def frame(site: Site, sequence: int) -> Awaitable[pb.GetFrameResponse]:
    asked = pb.GetFrameRequest(frame=FrameId("gate", EPOCH, sequence).to_message())
    return site.cloud.archive.GetFrame(asked, timeout=PATIENCE_SECONDS)


def clip(site: Site) -> Awaitable[Answer]:
    asked = request(START_US, START_US + 30 * FRAME_US, decoder=clip_pb2.CLIP_DECODER_BASE)
    return read_clip(site.cloud, asked)


async def export(site: Site) -> Path:
    path = site.folder / "case.zip"
    async with AsyncCloudClient(f"127.0.0.1:{site.cloud.app.port}") as client:
        await client.export(path, "gate", at(0), at(60), case="A test", by="Ann")
    return path


async def redetected(site: Site) -> Counts:
    jobs = RedetectionJobs(attach_database(f"sqlite:///{site.folder / 'cloud.db'}"))
    number, _ = jobs.add(Order(("gate",), *ALWAYS, Weights.of(weights_in(site.folder))), START_US)
    for _ in range(int(PATIENCE_SECONDS / 0.05)):
        if not jobs.is_open(number):
            return jobs.overview()[0][1]
        await asyncio.sleep(0.05)
    raise AssertionError(f"the job is not done: {jobs.overview()}")


def forever(patch: pytest.MonkeyPatch) -> None:
    """Retention has waited for each reader as long as it ever does."""
    patch.setattr(leases, "LONGEST_WAIT_SECONDS", 0.0)


async def test_a_frame_that_is_asked_for_stays_until_it_is_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = await during(Gate(RecordStore, "find", monkeypatch), frame(site, 15), site.run_retention)
    assert answer.image
    assert 2 in site.files("gate")
    assert 3 not in site.files("gate"), "nobody reads it"


async def test_a_frame_that_is_deleted_all_the_same_is_said_to_be(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    forever(monkeypatch)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await during(Gate(RecordStore, "find", monkeypatch), frame(site, 15), site.run_retention)
    assert reason_of(refused.value) == "FRAME_DELETED"
    assert "was deleted on" in (refused.value.details() or "")
    assert site.files("gate") == []


async def test_a_list_of_frames_leaves_out_what_goes_meanwhile(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ListFramesRequest(camera="gate")
    getattr(asked, "from").FromDatetime(at(0))
    asked.to.FromDatetime(at(60))
    frames = FramesServiceStub(site.cloud.channel)
    reading = frames.ListFrames(asked, timeout=PATIENCE_SECONDS)
    answer = await during(Gate(FramesService, "_records", monkeypatch, 2), reading, site.run_retention)
    assert site.files("gate") == []
    assert [each.frame.sequence for each in answer.frames] == list(range(1, 11))


async def test_a_clip_has_all_that_was_there_when_it_was_asked_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = await during(Gate(latents.Decoder, "latents", monkeypatch, 5), clip(site), site.run_retention)
    assert (answer.info.frames, list(answer.gaps)) == (30, [])
    assert site.files("gate") == [1, 2, 3]


async def test_a_clip_goes_on_with_what_is_left(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    forever(monkeypatch)
    answer = await during(Gate(latents.Decoder, "latents", monkeypatch, 5), clip(site), site.run_retention)
    assert answer.info.frames == 10
    assert [gap.frames for gap in answer.gaps] == [20]
    assert site.files("gate") == []


async def test_an_export_has_all_that_was_there_when_it_was_asked_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(camera_export, "SegmentFile", monkeypatch, 2)
    case = parse_case(contents(await during(gate, export(site), site.run_retention))[CASE])
    assert [segment.number for segment in case.cameras[0].segments] == [1, 2, 3]
    assert not [missing for missing in case.missing if missing.what == "its records"]


async def test_an_export_goes_on_with_what_is_left_and_says_by_which_rule_the_rest_went(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    forever(monkeypatch)
    gate = Gate(camera_export, "SegmentFile", monkeypatch, 2)
    case = parse_case(contents(await during(gate, export(site), site.run_retention))[CASE])
    assert [segment.number for segment in case.cameras[0].segments] == [1]
    missing = {each.segment: each.why for each in case.missing if each.what == "its records"}
    assert sorted(missing) == [2, 3]
    assert all("was deleted on" in why and "max_age" in why for why in missing.values())


async def test_a_segment_stays_while_it_is_detected_anew(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(DetectionProcess, "look_at", monkeypatch)
    counts = await during(gate, redetected(site), site.run_retention)
    assert site.files("gate") == [1]
    assert (counts.done, counts.lost, counts.frames) == (1, 0, 10)


async def test_a_segment_that_is_deleted_while_it_is_detected_anew_counts_as_lost(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    forever(monkeypatch)
    gate = Gate(DetectionProcess, "look_at", monkeypatch)
    counts = await during(gate, redetected(site), site.run_retention)
    assert site.files("gate") == []
    assert (counts.done, counts.lost, counts.frames) == (1, 1, 0)
    events = EventStore(attach_database(f"sqlite:///{site.folder / 'cloud.db'}"))
    assert events.search("gate", limit=100) == []
