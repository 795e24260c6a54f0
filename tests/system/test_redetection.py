"""The past is detected anew by the real service, which is killed in the middle of it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cloud_service.commands import run
from cloud_service.database.opening import attach_database
from cloud_service.events.store import EventStore, FrameEvent
from cloud_service.redetection.jobs import Counts, RedetectionJobs, State
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame, Encoder
from icm.rpc.channels import open_channel
from icm.testing.processes import Service
from tests.cloud_service.parts import coded_header, coded_records
from tests.cloud_service.redetection.parts import weights_in
from tests.cloud_service.running import running_cloud
from tests.cloud_service.uplink import Uplink
from tests.system.machine import Machine, until

PAST, LIVE, WITHIN_CREDIT = 300, 20, 60


@pytest.fixture
def loaded(bundle: Path) -> Bundle:
    return Bundle.load(bundle, threads=1)


@pytest.fixture
def coded(loaded: Bundle) -> list[CodedFrame]:
    encoder = Encoder(loaded)
    return [encoder.encode(np.full((48, 64, 3), level, np.uint8), 5) for level in (220, 30)]


def children(service: Service) -> list[int]:
    """Processes that detect for a service."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{name}/cmdline").read_bytes()
            parent = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"cloud_service.redetection.child" in command and parent == service.process.pid:
            found.append(int(name))
    return found


def ended(process: int) -> bool:
    try:
        return " Z " in Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


async def test_a_job_survives_the_services_kill_does_no_segment_twice_and_live_frames_are_looked_at_meanwhile(
    machine: Machine, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    folder = machine.folder / "cloud"
    async with running_cloud(folder, loaded, None) as past:
        for first in range(1, PAST, WITHIN_CREDIT):
            await past.deliver(coded_header(loaded), coded_records(coded, WITHIN_CREDIT, first))
    live = {"kind": "onnx", "weights": str(weights_in(machine.folder, "live.onnx", "dog"))}
    old = str(weights_in(machine.folder))
    place = ["--set", f"store.folder={folder}", "--set", "detector.kind=none"]
    assert run(["redetect", "--cameras", "gate", "--weights", old, *place]) == 0
    database = attach_database(f"sqlite:///{folder / 'cloud.db'}")
    jobs, events = RedetectionJobs(database), EventStore(database)

    def counts() -> Counts:
        return jobs.overview()[0][1]

    async def some_done() -> bool:
        return counts().done >= 2

    cloud, ports = await machine.cloud(detector=live)
    await until(some_done, cloud)
    (child,) = children(cloud)
    cloud.kill()
    before = counts()
    assert 2 <= before.done < before.segments == PAST // 10

    async def child_ended() -> bool:
        return ended(child)

    await until(child_ended)
    cloud, ports = await machine.cloud(detector=live)
    async with open_channel(f"127.0.0.1:{ports.grpc}", allow_plaintext=False) as channel:
        uplink, header = Uplink(channel), coded_header(loaded, "yard")
        await uplink.hello(header)
        await uplink.send(header, coded_records(coded, LIVE), header)
        await uplink.until(LIVE)
        await uplink.close()

    def looked_at(camera: str) -> list[FrameEvent]:
        return events.search(camera, limit=10 * PAST)

    async def all_done() -> bool:
        return jobs.next() is None and len(looked_at("yard")) == LIVE

    await until(all_done, cloud)
    assert await cloud.stop() == 0
    assert jobs.overview()[0][0].state == State.DONE
    assert counts() == Counts(PAST // 10, PAST // 10, 0, PAST, PAST, 0, PAST // 2)
    assert {event.model for event in looked_at("yard")} == {"live"}
    of_past = [event for event in looked_at("gate") if event.model.startswith("cat@")]
    assert sorted(event.key.sequence for event in of_past) == list(range(1, PAST + 1))
    database.dispose()
