from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_service.metrics import EdgeMetrics
from edge_service.spool.store import Spool
from icm.service.clock import ManualClock
from tests.edge_service.parts import WatchedProblems, write_clip


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
