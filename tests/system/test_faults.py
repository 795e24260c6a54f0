"""What may go wrong around the services, and what it may not cost: acknowledged frames, or other cameras."""

from __future__ import annotations

import asyncio
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from icm.testing.processes import Ports
from tests.clips import CLIP_FRAMES
from tests.system.machine import Machine, file_camera, scrape, stored, submitted_camera, until

ALL_FRAMES = list(range(1, CLIP_FRAMES + 1))


def sequences(folder: Path, camera: str) -> list[int]:
    """The camera's stored sequences, sorted; all must be of one epoch."""
    found = [(epoch, sequence) for name, epoch, sequence in stored(folder) if name == camera]
    assert len({epoch for epoch, _ in found}) == 1
    return sorted(sequence for _, sequence in found)


async def test_a_cloud_that_is_killed_in_the_middle_loses_nothing_and_stores_nothing_twice(
    machine: Machine, small_clip: Path
) -> None:
    cloud, ports = await machine.cloud()
    edge, _ = await machine.edge(ports.grpc, file_camera("gate", small_clip, pace="real_time"))

    async def some_persisted() -> bool:
        return (await scrape(ports)).total("icm_cloud_records_total", outcome="persisted") >= CLIP_FRAMES // 3

    await until(some_persisted, cloud)
    cloud.kill()
    before = len(stored(machine.folder))
    cloud, _ = await machine.cloud(port=ports.grpc)
    assert await edge.ended() == 0, edge.tail()
    assert await cloud.stop() == 0
    assert CLIP_FRAMES // 3 <= before < CLIP_FRAMES
    assert sequences(machine.folder, "gate") == ALL_FRAMES


async def test_an_edge_that_is_killed_in_the_middle_goes_on_with_its_numbering_and_loses_no_record(
    machine: Machine, small_clip: Path
) -> None:
    cloud, ports = await machine.cloud()
    edge, _ = await machine.edge(ports.grpc, file_camera("gate", small_clip, pace="real_time"))

    async def some_persisted() -> bool:
        return (await scrape(ports)).total("icm_cloud_records_total", outcome="persisted") >= CLIP_FRAMES // 3

    await until(some_persisted, cloud)
    edge.kill()
    # The file camera starts its clip anew, and its frames are new frames.
    edge, _ = await machine.edge(ports.grpc, file_camera("gate", small_clip))
    assert await edge.ended() == 0, edge.tail()
    assert await cloud.stop() == 0
    found = sequences(machine.folder, "gate")
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= CLIP_FRAMES // 3 + CLIP_FRAMES


@pytest.mark.parametrize("how", ["told to end", "killed"])
async def test_an_edge_delivers_after_its_restart_what_it_spooled_while_the_cloud_was_away(
    machine: Machine, small_clip: Path, how: str
) -> None:
    cloud, cloud_ports = await machine.cloud()
    await cloud.stop()
    edge, ports = await machine.edge(cloud_ports.grpc, file_camera("gate", small_clip), submitted_camera("clients"))

    async def all_spooled() -> bool:
        return (await scrape(ports)).total("icm_edge_frames_total", outcome="spooled") == CLIP_FRAMES

    await until(all_spooled, edge)
    assert (await scrape(ports)).total("icm_edge_spool_bytes") > 0
    if how == "killed":
        edge.kill()
    else:
        assert await edge.stop() == 0, edge.tail()
    assert stored(machine.folder) == []

    cloud, _ = await machine.cloud(port=cloud_ports.grpc)
    edge, ports = await machine.edge(cloud_ports.grpc, submitted_camera("gate"))

    async def all_delivered() -> bool:
        return (await scrape(ports)).total("icm_edge_spool_bytes") == 0

    await until(all_delivered, edge, cloud)
    assert await edge.stop() == 0
    assert await cloud.stop() == 0
    assert sequences(machine.folder, "gate") == ALL_FRAMES


@pytest.fixture
def dead_camera() -> Iterator[str]:
    """The address of a camera that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/stream"


async def test_a_dead_camera_is_reported_and_leaves_the_others_alone(
    machine: Machine, small_clip: Path, dead_camera: str
) -> None:
    cloud, cloud_ports = await machine.cloud()
    dead = {"name": "dead", "source": {"kind": "rtsp", "url": dead_camera, "timeout_seconds": 1}}
    edge, ports = await machine.edge(cloud_ports.grpc, dead, file_camera("gate", small_clip))

    async def all_delivered() -> bool:
        metrics = await scrape(ports)
        spooled = metrics.total("icm_edge_frames_total", camera="gate", outcome="spooled")
        return spooled == CLIP_FRAMES and metrics.total("icm_edge_spool_bytes") == 0

    async def reported() -> bool:
        return "dead" in await asyncio.to_thread(read_problems, ports)

    await until(all_delivered, edge, cloud)
    await until(reported, edge, cloud)
    assert await edge.stop() == 0, edge.tail()
    assert await cloud.stop() == 0
    assert sequences(machine.folder, "gate") == ALL_FRAMES


def read_problems(ports: Ports) -> str:
    """What /healthz complains about; nothing while all is well."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{ports.metrics}/healthz", timeout=10):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return str(error.read().decode())
