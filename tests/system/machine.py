"""Real processes: both services as their commands, on ports that the system picks, with folders of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from icm.codec.bitstream.record import parse_stream
from icm.testing.processes import Ports, Service
from icm.testing.scraping import Metrics

ANY_PORT = "127.0.0.1:0"
PATIENCE_SECONDS = 90.0
"""After this long a test that waits for something has failed."""


class Machine:
    """Starts services that share a folder; whatever still runs at the test's end is killed."""

    def __init__(self, folder: Path, bundle: Path, cleanup: ExitStack) -> None:
        self.folder, self._bundle, self._cleanup = folder, bundle, cleanup

    def start(self, name: str, settings: dict[str, Any], command: str = "run") -> Service:
        service = Service(name, settings, self.folder, command=command)
        self._cleanup.callback(service.kill)
        return service

    async def cloud(self, port: int = 0, detector: dict[str, Any] | None = None) -> tuple[Service, Ports]:
        service = self.start("icm-cloud", self.cloud_settings(port, detector))
        return service, await service.listening()

    async def edge(self, cloud_port: int, *cameras: dict[str, Any]) -> tuple[Service, Ports]:
        service = self.start("icm-edge", self.edge_settings(cloud_port, *cameras))
        return service, await service.listening()

    def cloud_settings(self, port: int = 0, detector: dict[str, Any] | None = None) -> dict[str, Any]:
        return {
            "bundle": str(self._bundle),
            "ingest": {"address": f"127.0.0.1:{port}"},
            "metrics": {"address": ANY_PORT},
            "store": {"folder": str(self.folder / "cloud")},
            "archive": {"url": str(self.folder / "archive")},
            "detector": detector or {"kind": "none"},
        }

    def edge_settings(self, cloud_port: int, *cameras: dict[str, Any]) -> dict[str, Any]:
        return {
            "bundle": str(self._bundle),
            "cloud": {"address": f"127.0.0.1:{cloud_port}"},
            "frame_api": {"address": ANY_PORT},
            "metrics": {"address": ANY_PORT},
            "spool": {"folder": str(self.folder / "edge")},
            "cameras": list(cameras),
        }


def file_camera(name: str, path: Path, pace: str = "fast", loop: bool = False) -> dict[str, Any]:
    return {"name": name, "source": {"kind": "file", "path": str(path), "pace": pace, "loop": loop}}


def submitted_camera(name: str) -> dict[str, Any]:
    """A camera without frames of its own; an edge that has one runs until it is told to stop."""
    return {"name": name, "source": {"kind": "submitted"}}


async def until(condition: Callable[[], Awaitable[bool]], *services: Service) -> None:
    """Waits for a condition while the services live."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            for service in services:
                service.check()
            await asyncio.sleep(0.05)


async def scrape(ports: Ports) -> Metrics:
    return await asyncio.to_thread(Metrics.scrape, ports.metrics)


def stored(folder: Path) -> list[tuple[str, int, int]]:
    """Camera, epoch and sequence of every record on the cloud's disk, in the files' own order."""
    found = []
    for path in sorted((folder / "cloud").rglob("*.icm")):
        # A service that runs may have made a file and not yet written to it.
        if not (data := path.read_bytes()):
            continue
        header, records = parse_stream(data)
        found += [(header.camera, header.epoch, record.sequence) for record in records]
    return found
