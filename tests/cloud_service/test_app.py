"""The whole cloud in one process: its metrics, its health and its end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.request import urlopen

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from icm.errors import ListenError
from icm.v1 import archive_pb2
from tests.cloud_service.parts import BrightnessDetector, coded_header, coded_records
from tests.cloud_service.running import RunningCloud, app_in, running_cloud
from tests.cloud_service.uplink import Uplink


def fetch(port: int, path: str) -> str:
    with urlopen(f"http://127.0.0.1:{port}/{path}") as answer:
        return str(answer.read().decode())


async def test_metrics_carry_the_names_that_dashboards_use(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    async with running_cloud(tmp_path, loaded, BrightnessDetector()) as cloud:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 2))
        metrics = await asyncio.to_thread(fetch, cloud.app.metrics_port, "metrics")
    for line in (
        'icm_cloud_records_total{camera="gate",outcome="persisted"} 2.0',
        'icm_cloud_received_bytes_total{camera="gate"}',
        'icm_cloud_stage_seconds_count{stage="persist"}',
        'icm_cloud_stage_seconds_count{stage="decode"}',
        'icm_cloud_stage_seconds_count{stage="detect"}',
        'icm_cloud_stage_seconds_count{stage="archive"}',
        'icm_cloud_capture_to_persisted_seconds_count{camera="gate"} 2.0',
        'icm_archive_bytes{camera="gate",tier="records"}',
        "icm_build_info{",
    ):
        assert line in metrics


async def test_the_welcome_says_how_large_a_message_may_be(tmp_path: Path, loaded: Bundle) -> None:
    cloud = RunningCloud(app_in(tmp_path, loaded, None, **{"ingest.limits.message_bytes": 3 << 20}))
    await cloud.app.start()
    assert (await Uplink(cloud.channel).hello(coded_header(loaded))).message_bytes == 3 << 20
    await cloud.channel.close()
    await cloud.app.stop()


async def test_a_running_cloud_says_that_it_serves(tmp_path: Path, loaded: Bundle) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        health = health_pb2_grpc.HealthStub(cloud.channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert await asyncio.to_thread(fetch, cloud.app.metrics_port, "healthz") == "ok\n"


async def test_the_only_frame_of_a_slow_camera_is_a_segment_and_a_video_soon_while_no_other_follows(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 1))
        request = archive_pb2.ListSegmentsRequest(camera="gate")
        while not (segments := (await cloud.archive.ListSegments(request)).segments):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert [segment.frames for segment in segments] == [1]


async def test_a_stop_lets_the_detector_finish_what_was_stored(
    tmp_path: Path, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    detector = BrightnessDetector()
    async with running_cloud(tmp_path, loaded, detector) as cloud:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 30))
    assert detector.seen == 30
    assert len(list((tmp_path / "archive/gate").rglob("*.mp4"))) == 3


@pytest.mark.parametrize("listener", ["ingest", "metrics"])
async def test_a_port_in_use_is_named(tmp_path: Path, loaded: Bundle, listener: str) -> None:
    async with running_cloud(tmp_path / "first", loaded, None) as first:
        taken = f"127.0.0.1:{first.app.metrics_port}"
        with pytest.raises(ListenError, match=taken):
            app_in(tmp_path / "second", loaded, None, **{f"{listener}.address": taken})
