from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_service.metrics import EdgeMetrics
from edge_service.spool.camera_spool import CameraSpool
from edge_service.spool.store import Spool
from edge_service.uplink.uplink import Uplink
from icm.rpc.channels import open_channel
from icm.service.backoff import Backoff
from icm.service.clock import Clock, ManualClock
from icm.service.health import Problems
from tests.edge_service.parts import CODEC_ID, WatchedProblems, write_clip


@pytest.fixture
def metrics() -> EdgeMetrics:
    return EdgeMetrics("test-bundle")


@pytest.fixture
def problems() -> WatchedProblems:
    return WatchedProblems()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", 1_000_000, 3600.0, clock)
    yield spool
    spool.close()


@pytest.fixture
def gate(spool: Spool) -> CameraSpool:
    return spool.camera("gate")


@pytest.fixture
def sending(metrics: EdgeMetrics, problems: Problems) -> Callable[..., object]:
    @asynccontextmanager
    async def run(
        spool: CameraSpool, port: int, batch_seconds: float = 0.0, clock: Clock | None = None
    ) -> AsyncIterator[Uplink]:
        channel = open_channel(f"127.0.0.1:{port}", allow_plaintext=False)
        uplink = Uplink(spool, CODEC_ID, channel, metrics, problems, Backoff(0.01, 0.05), batch_seconds, clock=clock)
        task = asyncio.create_task(uplink.run())
        try:
            async with asyncio.timeout(20):
                yield uplink
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await channel.close()

    return run


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of 64x48 at 10 fps."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    write_clip(path, 10)
    return path


@pytest.fixture
def sample(metrics: EdgeMetrics) -> Callable[..., float]:
    """The value of a metric by name and labels; 0 if it was never touched."""

    def read(name: str, **labels: str) -> float:
        return metrics.registry.get_sample_value(name, labels) or 0.0

    return read
