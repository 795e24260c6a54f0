"""The edge as its users meet it: a process with a settings file, beside a cloud of the test's own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from edge_service.spool.store import Spool
from icm.service.clock import SystemClock
from icm.v1 import camera_pb2, camera_pb2_grpc, frame_pb2
from tests.edge_service.ingest_server import Ingest, serving
from tests.edge_service.sources.rtsp_server import RtspServer

BUNDLE = next((Path(__file__).parents[2] / "models").glob("*/manifest.json")).parent
SUBMITTED = {"name": "door", "source": {"kind": "submitted"}}


class Process:
    """A running ``icm-edge``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._lines: list[str] = []
        self.grpc_port = self.metrics_port = 0

    async def line(self, pattern: str) -> re.Match[str]:
        """The next line of its log that matches."""
        assert self._process.stderr is not None
        async with asyncio.timeout(60):
            while line := (await self._process.stderr.readline()).decode():
                self._lines.append(line)
                if match := re.search(pattern, line):
                    return match
        raise AssertionError(f"no line matches {pattern!r} in:\n{''.join(self._lines)}")

    async def listening(self) -> None:
        match = await self.line(r"listening grpc=(\d+) metrics=(\d+)")
        self.grpc_port, self.metrics_port = int(match[1]), int(match[2])

    async def get(self, path: str) -> tuple[int, str]:
        def read() -> tuple[int, str]:
            try:
                with urlopen(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=20) as answer:
                    return answer.status, answer.read().decode()
            except HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        return await asyncio.to_thread(read)

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def signal_group(self, number: signal.Signals) -> None:
        """As a terminal does, or a service manager: to the children as well."""
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> tuple[int, str]:
        """Exit status and everything logged."""
        async with asyncio.timeout(60):
            _, rest = await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode, "".join(self._lines) + rest.decode()


@asynccontextmanager
async def edge(folder: Path, cloud_port: int, cameras: list[dict[str, Any]], **more: Any) -> AsyncIterator[Process]:
    values = {
        "bundle": str(BUNDLE),
        "threads": 1,
        "cloud": {"address": f"127.0.0.1:{cloud_port}"},
        "frame_api": {"address": "127.0.0.1:0"},
        "metrics": {"address": "127.0.0.1:0"},
        "spool": {"folder": str(folder / "spool")},
        "cameras": cameras,
        **more,
    }
    config = folder / "edge.yaml"
    config.write_text(yaml.safe_dump(values))
    command = [sys.executable, "-m", "edge_service.cli", "run", "--config", str(config)]
    started = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, start_new_session=True)
    process = Process(started)
    try:
        yield process
    finally:
        process.kill()
        await process.ended()


def file(path: Path, pace: str = "fast", loop: bool = False) -> dict[str, Any]:
    return {"kind": "file", "path": str(path), "pace": pace, "loop": loop}


async def test_delivers_its_files_and_ends_when_the_cloud_has_everything(tmp_path: Path, clip: Path) -> None:
    ingest = Ingest()
    ingest.acknowledges.clear()
    cameras = [{"name": name, "source": file(clip)} for name in ("gate", "yard")]
    async with serving(ingest) as port, edge(tmp_path, port, cameras) as process:
        await process.line("every camera has ended")
        ingest.acknowledges.set()
        status, _ = await process.ended()
    assert status == 0
    for name in ("gate", "yard"):
        records = ingest.of(name)
        assert [record.sequence for record in records] == list(range(1, 11))
        assert {record.quality for record in records} == {48}


async def test_metrics_and_health_speak_the_names_of_the_design(tmp_path: Path, clip: Path) -> None:
    ingest = Ingest()
    cameras = [SUBMITTED, {"name": "gate", "source": file(clip, loop=True)}]
    async with serving(ingest) as port, edge(tmp_path, port, cameras) as process:
        await process.listening()
        await ingest.until("gate", 3)
        status, metrics = await process.get("/metrics")
        assert status == 200
        for name in (
            'icm_edge_frames_total{camera="gate",outcome="spooled"}',
            'icm_edge_encoded_bytes_total{camera="gate",kind="I"}',
            'icm_edge_stage_seconds_count{camera="gate",stage="encode"}',
            'icm_edge_stage_seconds_count{camera="gate",stage="spool"}',
            'icm_edge_stage_seconds_count{camera="gate",stage="uplink"}',
            "icm_edge_spool_bytes",
            "icm_edge_spool_oldest_seconds",
            'icm_edge_dropped_total{camera="gate",reason="queue_full"} 0.0',
            'icm_edge_dropped_total{camera="gate",reason="rejected_damaged"} 0.0',
            "icm_build_info{",
            "process_resident_memory_bytes",
        ):
            assert name in metrics
        assert await process.get("/healthz") == (200, "ok\n")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel:
            health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_cloud_that_breaks_off_and_one_that_restarts_get_every_record_once(tmp_path: Path, clip: Path) -> None:
    ingest = Ingest(breaks_after=3)
    async with serving(ingest) as port, edge(tmp_path, port, [{"name": "gate", "source": file(clip, loop=True)}]):
        await ingest.until("gate", 8)
        await ingest.until_hellos(2)
        records = await ingest.until("gate", len(ingest.of("gate")) + 3)
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    assert ingest.duplicates == 0


async def test_sigterm_keeps_in_the_spool_what_the_cloud_has_not_and_the_next_start_sends_it(
    tmp_path: Path, clip: Path
) -> None:
    ingest = Ingest(credit=4)
    ingest.acknowledges.clear()
    async with serving(ingest) as port:
        async with edge(tmp_path, port, [{"name": "gate", "source": file(clip, loop=True)}]) as process:
            await process.listening()
            await ingest.until("gate", 1)
            process.terminate()
            status, log = await process.ended()
        assert status == 0, log
        assert "Traceback" not in log
        spool = Spool(tmp_path / "spool", 1 << 30, 3600.0, SystemClock())
        made = spool.camera("gate").next_sequence - 1
        assert not spool.camera("gate").empty()
        spool.close()
        ingest.acknowledges.set()
        # The camera is gone from the settings; what it left behind is delivered all the same.
        async with edge(tmp_path, port, [SUBMITTED]) as process:
            assert len(await ingest.until("gate", made)) == made


async def test_a_sigkill_loses_nothing_and_no_sequence_comes_twice(tmp_path: Path, clip: Path) -> None:
    ingest = Ingest()
    cameras = [{"name": "gate", "source": file(clip, loop=True)}]
    async with serving(ingest) as port:
        async with edge(tmp_path, port, cameras) as process:
            await ingest.until("gate", 5)
            process.kill()
            await process.ended()
        before = len(ingest.of("gate"))
        async with edge(tmp_path, port, cameras):
            records = await ingest.until("gate", before + 5)
    assert len(ingest.records) == 1
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    times = [record.capture_us for record in records]
    assert times == sorted(set(times))


async def test_a_dead_camera_is_a_problem_of_its_own_and_the_others_go_on(tmp_path: Path, clip: Path) -> None:
    ingest = Ingest()
    cameras = [
        {"name": "dead", "source": {"kind": "rtsp", "url": "rtsp://127.0.0.1:1/"}},
        {"name": "gate", "source": file(clip, loop=True)},
    ]
    async with serving(ingest) as port, edge(tmp_path, port, cameras) as process:
        await process.listening()
        await process.line("camera dead: no picture from rtsp://127.0.0.1:1/: Connection refused; trying again")
        await ingest.until("gate", 3)
        status, text = await process.get("/healthz")
        assert status == 503
        assert text.startswith("camera dead: no picture from rtsp://127.0.0.1:1/")
        process.terminate()
        assert (await process.ended())[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_stop_of_the_whole_group_is_no_alarm_and_leaves_no_process(
    tmp_path: Path, number: signal.Signals
) -> None:
    ingest = Ingest()
    with RtspServer() as camera:
        cameras = [{"name": "gate", "source": {"kind": "rtsp", "url": camera.url}}]
        async with serving(ingest) as port, edge(tmp_path, port, cameras) as process:
            await ingest.until("gate", 2)
            for _ in range(3):
                process.signal_group(number)
            status, log = await process.ended()
            with pytest.raises(ProcessLookupError):
                process.signal_group(signal.SIGCONT)
    assert status == 0
    assert "Traceback" not in log
    assert "ERROR" not in log


async def test_a_cloud_that_is_away_is_a_problem_and_records_wait(tmp_path: Path) -> None:
    async with edge(tmp_path, 1, [SUBMITTED]) as process:
        await process.listening()
        await process.line("camera door: the cloud is away")
        assert (await process.get("/healthz"))[0] == 503
        async with grpc.aio.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel:
            image = frame_pb2.RawImage(width=32, height=32, rgb=bytes(3 * 32 * 32))
            request = camera_pb2.SubmitFrameRequest(camera="door", frame=frame_pb2.Frame(raw=image))
            answer = await camera_pb2_grpc.CameraServiceStub(channel).SubmitFrame(request)
        assert answer.frame.sequence == 1
        _, metrics = await process.get("/metrics")
        assert f"icm_edge_spool_bytes {float(answer.bytes)}" in metrics
        process.terminate()
        assert (await process.ended())[0] == 0


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"cameras": [{"name": "gate", "source": file(Path("/nowhere/clip.mp4"))}]}, 2, "at /nowhere/clip.mp4"),
        ({"camera": []}, 2, "camera: unknown setting"),
        ({"cameras": [{**SUBMITTED, "quality": 9}]}, 2, "camera door: quality 9 is out of range"),
        ({"bundle": "/nowhere/bundle"}, 2, "no codec bundle at /nowhere/bundle"),
        ({"cloud": {"address": "192.0.2.1:7443"}}, 2, "refusing to speak plaintext on 192.0.2.1:7443"),
        ({"spool": {"folder": "/proc/spool"}}, 2, "cannot use the spool folder /proc/spool"),
    ],
)
async def test_what_is_wrong_at_the_start_is_one_line_on_stderr(
    tmp_path: Path, change: dict[str, Any], status: int, text: str
) -> None:
    values = {"cameras": [SUBMITTED], **change}
    async with edge(tmp_path, 1, **values) as process:
        found, log = await process.ended()
    assert found == status
    (line,) = log.splitlines()
    assert line.startswith("icm-edge: ")
    assert text in line


@pytest.mark.parametrize("which", ["frame_api", "metrics"])
async def test_a_port_in_use_is_named(tmp_path: Path, which: str) -> None:
    async with serving(Ingest()) as port:
        address = f"127.0.0.1:{port}"
        async with edge(tmp_path, port, [SUBMITTED], **{which: {"address": address}}) as process:
            status, log = await process.ended()
    assert status == 2
    assert log.splitlines()[-1].startswith("icm-edge: cannot ")
    assert f"{address}" in log
    assert "another process using the port" in log
