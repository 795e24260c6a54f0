"""One cloud for many exports: it runs in a thread, with a camera for each test that damages something."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from icm.client.cloud import CloudClient
from icm.codec.bundle.loading import Bundle
from icm.evidence.case import Case, parse_case
from icm.evidence.layout import CASE
from tests.cases import archived, at, coded_stream, contents, moving_square
from tests.cloud_service.parts import BrightnessDetector
from tests.cloud_service.running import RunningCloud, running_cloud

CAMERAS = ("gate", "damaged", "gone", "deleted")
"""Each with three segments of ten frames, and their videos."""


@dataclass(frozen=True)
class Served:
    """A cloud that runs. Attributes: folder, of all that it keeps; port, of its gRPC server; app, itself."""

    folder: Path
    port: int
    app: Any

    def export(self, path: Path, **changes: Any) -> Case:
        """Exports gate's first minute, unless told otherwise; what case.json says."""
        asked = {"cameras": "gate", "start": at(0), "end": at(60), "case": "A test", "by": "Ann"} | changes
        with CloudClient(f"127.0.0.1:{self.port}") as client:
            client.export(path, asked.pop("cameras"), asked.pop("start"), asked.pop("end"), **asked)
        return parse_case(contents(path)[CASE])

    def segment_file(self, camera: str, number: int) -> Path:
        """Where a segment lies."""
        (path,) = (self.folder / "records" / camera).rglob(f"*-{number:06d}.icm")
        return path


@pytest.fixture(scope="module")
def served(loaded: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("cloud")
    loop, ready, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    clouds: list[RunningCloud] = []
    header, records = coded_stream(loaded, "gate", moving_square(30))

    async def serve() -> None:
        async with running_cloud(folder, loaded, BrightnessDetector()) as cloud:
            for camera in CAMERAS:
                await cloud.deliver(replace(header, camera=camera), records)
            for camera in CAMERAS:
                await archived(cloud, camera, 3)
            clouds.append(cloud)
            ready.set()
            await ended.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(120)
        yield Served(folder, clouds[0].app.port, clouds[0].app)
    finally:
        if loop.is_running():
            loop.call_soon_threadsafe(ended.set)
        thread.join()
