"""Starts cloud and edge, plays the clip, and watches until every frame has been through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc

from deploy.demo.clip import Clip
from deploy.demo.progress import CAMERA, Progress, Table
from deploy.demo.sheet import Tile, draw
from deploy.demo.viewer import Viewer, start_viewer
from deploy.demo.watching import Watcher
from icm.errors import IcmError
from icm.rpc.channels import open_channel
from icm.testing.processes import Ports, Service
from icm.testing.scraping import Metrics
from icm.v1 import archive_pb2, archive_pb2_grpc, frame_pb2

STALL_SECONDS = 120.0
"""After this long without a step forward, something is broken."""
_TICK_SECONDS = 0.5
_SHEET_TILES = 6
_ANY_PORT = "127.0.0.1:0"


@dataclass(frozen=True)
class Stage:
    """What is to be played, with what, and where everything goes.

    Attributes:
        bundle: folder of the codec bundle.
        weights: the detector's weights.
        folder: receives settings, logs, spool, store and archive.
        quality: quality level of the codec.
        device: "cpu" or "cuda".
    """

    clip: Clip
    bundle: Path
    weights: Path
    folder: Path
    quality: float
    device: str

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    @property
    def sheet(self) -> Path:
        return self.folder / "sheet.png"

    def cloud_settings(self) -> dict[str, Any]:
        return {
            "bundle": str(self.bundle.resolve()),
            "device": self.device,
            "ingest": {"address": _ANY_PORT},
            "metrics": {"address": _ANY_PORT},
            "store": {"folder": str(self.folder.resolve() / "cloud")},
            "archive": {"url": str(self.archive.resolve())},
            "detector": {"kind": "yolo", "weights": str(self.weights.resolve())},
        }

    def edge_settings(self, cloud: Ports) -> dict[str, Any]:
        source = {"kind": "file", "path": str(self.clip.path.resolve()), "pace": "real_time"}
        return {
            "bundle": str(self.bundle.resolve()),
            "device": self.device,
            "cloud": {"address": f"127.0.0.1:{cloud.grpc}"},
            "frame_api": {"address": _ANY_PORT},
            "metrics": {"address": _ANY_PORT},
            "spool": {"folder": str(self.folder.resolve() / "edge")},
            "cameras": [{"name": CAMERA, "quality": self.quality, "source": source}],
        }


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        progress: how far everything got.
        watcher: what it saw.
        seconds: from the edge's start to the last detection.
        viewer: shows it.
        archive: folder of the videos, of which the last come as the cloud ends.
    """

    progress: Progress
    watcher: Watcher
    seconds: float
    viewer: Viewer
    archive: Path

    def videos(self) -> list[Path]:
        """The videos in the archive."""
        return sorted(self.archive.glob("*/*/*/*.mp4"))


@asynccontextmanager
async def playing(stage: Stage, say: Callable[[str], None]) -> AsyncIterator[Outcome]:
    """Plays the clip to its end; cloud and viewer run until the block ends.

    Args:
        say: told where to watch.

    Raises:
        IcmError: a service ended by itself or with an error, or nothing moved any more; holds the end of its log.
    """
    async with AsyncExitStack() as cleanup:
        cloud = Service("icm-cloud", stage.cloud_settings(), stage.folder)
        cleanup.callback(cloud.kill)
        cloud_ports = await cloud.listening()
        channel = await cleanup.enter_async_context(open_channel(f"127.0.0.1:{cloud_ports.grpc}", False))
        archive = archive_pb2_grpc.ArchiveServiceStub(channel)
        watcher = Watcher(archive, CAMERA)
        watching = asyncio.create_task(watcher.run())
        cleanup.callback(watching.cancel)
        viewer = await start_viewer(cloud_ports, stage.cloud_settings(), stage.folder)
        cleanup.callback(viewer.service.kill)
        say(viewer.text())
        edge = Service("icm-edge", stage.edge_settings(cloud_ports), stage.folder)
        cleanup.callback(edge.kill)
        edge_ports = await edge.listening()
        started = time.monotonic()
        progress = await _follow(stage.clip, (edge, edge_ports), (cloud, cloud_ports), watching)
        seconds = time.monotonic() - started
        await _contact_sheet(archive, watcher, progress, stage)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await _stop(edge)
        yield Outcome(progress, watcher, seconds, viewer, stage.archive)
        await _stop(viewer.service)
        await _stop(cloud)


async def _stop(service: Service) -> None:
    code = await service.stop()
    if code != 0:
        raise IcmError(f"{service.name} was asked to end and did so with exit code {code}. {service.tail()}")


async def _follow(
    clip: Clip, edge: tuple[Service, Ports], cloud: tuple[Service, Ports], watching: asyncio.Task[None]
) -> Progress:
    """Shows the progress until every frame was seen by the detector, here too."""
    table = Table(clip)
    metrics, last, last_step = Metrics(""), None, time.monotonic()
    while True:
        cloud[0].check()
        delivered = edge[0].process.poll() == 0  # an edge ends when its sources have and the cloud has everything
        if not delivered:
            edge[0].check()
        if watching.done():
            raise IcmError(f"the cloud stopped telling detections: {watching.exception() or 'it ended the stream'}")
        # The cloud first, so that no frame is seen there before it was sent. An edge that just ended said its last.
        cloud_metrics = await _scrape(cloud[1])
        metrics = await _scrape(edge[1]) or metrics
        if cloud_metrics is not None:
            now = Progress.read(metrics, cloud_metrics)
            if delivered:
                now = replace(now, encoded=now.persisted, dropped=clip.frames - now.persisted, spool_bytes=0)
            table.show(now)
            if now.detected + now.dropped >= clip.frames:
                return now
            if now != last:
                last, last_step = now, time.monotonic()
        if time.monotonic() - last_step > STALL_SECONDS:
            tails = "\n".join(service.tail() for service, _ in (edge, cloud))
            raise IcmError(f"nothing has moved for {STALL_SECONDS:.0f} s: {last}\n{tails}")
        await asyncio.sleep(_TICK_SECONDS)


async def _scrape(ports: Ports) -> Metrics | None:
    """The service's metrics, or None if it does not answer; whether it still lives is for others to see."""
    try:
        return await asyncio.to_thread(Metrics.scrape, ports.metrics)
    except OSError:
        return None


async def _contact_sheet(
    archive: archive_pb2_grpc.ArchiveServiceAsyncStub, watcher: Watcher, progress: Progress, stage: Stage
) -> None:
    """Draws some frames, evenly spread over the clip, as the archive gives them."""
    seen = sorted(watcher.frames)
    if not seen:
        raise IcmError("the detector saw no frame at all; is the clip longer than FRAMES=0?")
    count = min(_SHEET_TILES, len(seen))
    chosen = [watcher.frames[seen[index * len(seen) // count]] for index in range(count)]
    bytes_per_frame = progress.received_bytes / max(progress.persisted, 1)
    tiles = []
    for found in chosen:
        try:
            answer = await archive.GetFrame(
                archive_pb2.GetFrameRequest(frame=found.frame, format=archive_pb2.IMAGE_FORMAT_PNG), timeout=60
            )
        except grpc.aio.AioRpcError as error:
            raise IcmError(f"the archive does not give frame {found.frame.sequence}: {error.details()}") from None
        tiles.append(Tile(answer.image, found.detections, _caption(found, bytes_per_frame)))
    draw(tiles, stage.sheet)


def _caption(found: frame_pb2.FrameDetections, bytes_per_frame: float) -> str:
    when = found.capture_time.ToDatetime()
    kilobytes = f"{bytes_per_frame / 1000:.1f} kB a frame on average"
    return f"{when:%H:%M:%S}.{when.microsecond // 1000:03d} UTC   {kilobytes}   {found.model}"
