"""Both services, as real processes, take a short clip all the way: what a user may rely on afterwards."""

from __future__ import annotations

import asyncio
import io
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import av
import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from deploy.demo.watching import Watcher
from icm.rpc.channels import open_channel
from icm.testing.processes import Ports
from icm.testing.scraping import Metrics
from icm.v1 import archive_pb2, archive_pb2_grpc, camera_pb2, camera_pb2_grpc, frame_pb2
from tests.clips import CLIP_FRAMES
from tests.system.machine import Machine, file_camera, scrape, stored, submitted_camera, until

EDGE_METRICS = {
    "icm_edge_frames_total",
    "icm_edge_encoded_bytes_total",
    "icm_edge_stage_seconds_bucket",
    "icm_edge_spool_bytes",
    "icm_edge_spool_oldest_seconds",
    "icm_build_info",
}
CLOUD_METRICS = {
    "icm_cloud_records_total",
    "icm_cloud_received_bytes_total",
    "icm_cloud_stage_seconds_bucket",
    "icm_cloud_capture_to_persisted_seconds_bucket",
    "icm_cloud_capture_to_detected_seconds_bucket",
    "icm_cloud_detections_total",
    "icm_archive_bytes",
    "icm_build_info",
}


@dataclass(frozen=True)
class Run:
    """What was seen of one run, from its start to its end.

    Attributes:
        edge, cloud: their metrics once all frames were detected.
        cameras: what the archive lists, by name.
        watched: detections of the clip's camera, by sequence.
        found: class, and how often, as the archive tells them frame by frame afterwards.
        submitted: the answer to a picture that was submitted.
        first, last: PNG of the clip's first and last frame.
        beyond: how the archive answers when asked for one frame more.
        health: of the edge and of the cloud, as gRPC health and /healthz tell it.
        exit_codes: of the edge and of the cloud.
        folder: where all their files are, both having ended.
    """

    edge: Metrics
    cloud: Metrics
    cameras: dict[str, archive_pb2.Camera]
    watched: dict[int, frame_pb2.FrameDetections]
    found: Counter[str]
    submitted: camera_pb2.SubmitFrameResponse
    first: bytes
    last: bytes
    beyond: grpc.StatusCode
    health: list[int]
    healthz: list[str]
    exit_codes: list[int]
    folder: Path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, bundle: Path, weights: Path, clip: Path) -> Iterator[Run]:
    with ExitStack() as cleanup:
        machine = Machine(tmp_path_factory.mktemp("pipeline"), bundle, cleanup)
        yield asyncio.run(play(machine, weights, clip))


async def play(machine: Machine, weights: Path, clip: Path) -> Run:
    cloud, cloud_ports = await machine.cloud(detector={"kind": "yolo", "weights": str(weights)})
    async with open_channel(f"127.0.0.1:{cloud_ports.grpc}", False) as to_cloud:
        archive = archive_pb2_grpc.ArchiveServiceStub(to_cloud)
        watcher = Watcher(archive, "gate")
        watching = asyncio.create_task(watcher.run())
        cameras = file_camera("gate", clip, pace="real_time"), submitted_camera("clients")
        edge, edge_ports = await machine.edge(cloud_ports.grpc, *cameras)

        async def all_detected() -> bool:
            return len(watcher.frames) == CLIP_FRAMES

        await until(all_detected, edge, cloud)
        watching.cancel()
        async with open_channel(f"127.0.0.1:{edge_ports.grpc}", False) as to_edge:
            submitted = await submit_photo(to_edge, clip)
            health = [await check_health(channel) for channel in (to_edge, to_cloud)]
        metrics = [await scrape(ports) for ports in (edge_ports, cloud_ports)]
        healthz = [await asyncio.to_thread(read_healthz, ports) for ports in (edge_ports, cloud_ports)]
        listed = await archive.ListCameras(archive_pb2.ListCamerasRequest())
        found: Counter[str] = Counter()
        for frame in watcher.frames.values():
            answer = await archive.GetDetections(archive_pb2.GetDetectionsRequest(frame=frame.frame), timeout=10)
            found.update(detection.class_name for detection in answer.detections.detections)
        reference = watcher.frames[1].frame
        pictures = [await get_frame(archive, reference, sequence) for sequence in (1, CLIP_FRAMES)]
        with pytest.raises(grpc.aio.AioRpcError) as beyond:
            await get_frame(archive, reference, CLIP_FRAMES + 1)
    exit_codes = [await edge.stop(), await cloud.stop()]
    return Run(
        *metrics, {camera.name: camera for camera in listed.cameras}, watcher.frames, found, submitted, *pictures,
        beyond.value.code(), health, healthz, exit_codes, machine.folder,
    )  # fmt: skip


async def submit_photo(edge: grpc.aio.Channel, clip: Path) -> camera_pb2.SubmitFrameResponse:
    with av.open(str(clip)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return await camera_pb2_grpc.CameraServiceStub(edge).SubmitFrame(
        camera_pb2.SubmitFrameRequest(
            camera="clients", frame=frame_pb2.Frame(encoded=file.getvalue()), wait_for_detections=Duration(seconds=60)
        )
    )


async def check_health(channel: grpc.aio.Channel) -> int:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    return int(answer.status)


def read_healthz(ports: Ports) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{ports.metrics}/healthz", timeout=10) as answer:
        return str(answer.read().decode())


async def get_frame(
    archive: archive_pb2_grpc.ArchiveServiceAsyncStub, reference: frame_pb2.FrameRef, sequence: int
) -> bytes:
    frame = frame_pb2.FrameRef(camera=reference.camera, epoch=reference.epoch, sequence=sequence)
    request = archive_pb2.GetFrameRequest(frame=frame, format=archive_pb2.IMAGE_FORMAT_PNG)
    return (await archive.GetFrame(request, timeout=30)).image


def test_every_frame_is_on_the_clouds_disk_exactly_once(run: Run) -> None:
    records = [(camera, sequence) for camera, _, sequence in stored(run.folder)]
    assert sorted(records) == [("clients", 1)] + [("gate", sequence) for sequence in range(1, CLIP_FRAMES + 1)]
    assert run.cameras["gate"].records == CLIP_FRAMES
    assert run.cameras["clients"].records == 1


def test_every_frame_has_detections_of_people_who_are_there(run: Run) -> None:
    assert sorted(run.watched) == list(range(1, CLIP_FRAMES + 1))
    assert {frame.model for frame in run.watched.values()} == {"yolo26n"}
    assert run.found["person"] >= CLIP_FRAMES
    for frame in run.watched.values():
        for detection in frame.detections:
            assert 0 < detection.score <= 1
            assert detection.left < detection.right
            assert detection.top < detection.bottom


def test_what_a_watcher_saw_is_what_the_archive_tells_later(run: Run) -> None:
    watched = Counter(detection.class_name for frame in run.watched.values() for detection in frame.detections)
    assert watched == run.found
    assert run.cloud.by("icm_cloud_detections_total", "class")["person"] >= run.found["person"]


def test_a_submitted_picture_is_answered_with_its_size_and_its_detections(run: Run) -> None:
    assert run.submitted.frame.camera == "clients"
    assert run.submitted.frame.sequence == 1
    assert 0 < run.submitted.bits_per_pixel < 8
    assert "person" in [detection.class_name for detection in run.submitted.detections.detections]


def test_a_frame_can_be_fetched_as_the_picture_it_was(run: Run, clip: Path) -> None:
    with av.open(str(clip)) as container:
        originals = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for original, data in zip((originals[0], originals[-1]), (run.first, run.last), strict=True):
        picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        assert picture.shape == original.shape
        error = np.mean((picture.astype(float) - original) ** 2)
        assert 10 * np.log10(255**2 / error) > 22
    assert run.beyond is grpc.StatusCode.NOT_FOUND


def test_the_archive_is_video_that_plays_and_thumbnails_that_show(run: Run, clip: Path) -> None:
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        size = stream.width, stream.height
    frames = Counter[str]()
    for path in (run.folder / "archive").glob("*/*/*/*.mp4"):
        with av.open(str(path)) as container:
            assert container.streams.video[0].codec_context.name == "h264"
            pictures = list(container.decode(video=0))
        assert {(picture.width, picture.height) for picture in pictures} == {size}
        frames[path.relative_to(run.folder / "archive").parts[0]] += len(pictures)
    assert frames == {"gate": CLIP_FRAMES, "clients": 1}
    thumbnails = list((run.folder / "archive").rglob("*.jpg"))
    assert {path.relative_to(run.folder / "archive").parts[0] for path in thumbnails} == {"gate", "clients"}
    for path in thumbnails:
        with Image.open(path) as thumbnail:
            thumbnail.load()


def test_both_services_tell_the_metrics_that_dashboards_need(run: Run) -> None:
    assert run.edge.names >= EDGE_METRICS
    assert run.cloud.names >= CLOUD_METRICS
    assert run.edge.total("icm_edge_frames_total", camera="gate", outcome="spooled") == CLIP_FRAMES
    assert run.cloud.total("icm_cloud_records_total", camera="gate", outcome="persisted") == CLIP_FRAMES
    assert run.edge.total("icm_edge_dropped_total") == 0
    stages = {sample.labels["stage"] for sample in run.edge.samples if sample.name == "icm_edge_stage_seconds_count"}
    assert stages >= {"encode", "spool", "uplink"}


def test_both_services_are_healthy_while_they_run(run: Run) -> None:
    assert run.health == [health_pb2.HealthCheckResponse.SERVING] * 2
    assert run.healthz == ["ok\n", "ok\n"]


def test_both_services_end_cleanly_when_they_are_told_to(run: Run) -> None:
    assert run.exit_codes == [0, 0]
