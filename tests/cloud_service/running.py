"""A whole cloud inside the test's own process, on ports that the system picks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from cloud_service.app import App
from cloud_service.bundles import Bundles
from cloud_service.detection import Detector
from cloud_service.settings import CloudSettings
from icm.codec.bitstream.record import Record, StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.config.settings import load_settings
from icm.rpc.channels import open_channel
from icm.rpc.tls import MutualTlsSettings
from icm.v1.archive_pb2_grpc import ArchiveServiceStub
from icm.v1.clip_pb2_grpc import ClipServiceStub
from tests.cloud_service.uplink import Uplink


class RunningCloud:
    """The app and a channel to it."""

    def __init__(self, app: App, tls: MutualTlsSettings | None = None) -> None:
        self.app = app
        self.channel: grpc.aio.Channel = open_channel(f"127.0.0.1:{app.port}", allow_plaintext=False, tls=tls)
        self.archive = ArchiveServiceStub(self.channel)
        self.clips = ClipServiceStub(self.channel)

    async def deliver(self, header: StreamHeader, records: list[Record]) -> None:
        """Sends records and waits until they are persisted."""
        uplink = Uplink(self.channel)
        await uplink.hello(header)
        await uplink.send(header, records, header)
        await uplink.until(records[-1].sequence)
        await uplink.close()


def app_in(folder: Path, bundle: Bundle | Sequence[Bundle], detector: Detector | None, **flags: Any) -> App:
    """An app that keeps everything in a folder; its ports are the system's choice unless the flags say otherwise."""
    bundles = [bundle] if isinstance(bundle, Bundle) else bundle
    defaults = {
        "bundle": str(bundles[0].folder),
        "ingest.address": "127.0.0.1:0",
        "metrics.address": "127.0.0.1:0",
        "store.folder": str(folder),
        "archive.segment_seconds": 1.0,
        "detector.kind": "none",
    }
    return App(load_settings(CloudSettings, None, defaults | flags), Bundles(bundles), detector)


@asynccontextmanager
async def running_cloud(
    folder: Path,
    bundle: Bundle | Sequence[Bundle],
    detector: Detector | None,
    tls: MutualTlsSettings | None = None,
    **flags: Any,
) -> AsyncIterator[RunningCloud]:
    """Args: tls, of the channel to a cloud with mutual TLS."""
    cloud = RunningCloud(app_in(folder, bundle, detector, **flags), tls)
    await cloud.app.start()
    try:
        yield cloud
    finally:
        await cloud.channel.close()
        await cloud.app.stop()
