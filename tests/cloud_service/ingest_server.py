"""A real ingest with a real store, as tests of it need one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cloud_service.bundles import Bundles
from cloud_service.ingest.camera_stream import IngestContext
from cloud_service.ingest.credit import Pending
from cloud_service.ingest.service import IngestService
from cloud_service.metrics import Metrics
from cloud_service.store import GroupCommit, RecordStore
from icm.codec.bundle.loading import Bundle
from icm.rpc.channels import open_channel
from icm.rpc.servers import MAX_MESSAGE_BYTES, Server
from icm.service.clock import ManualClock
from icm.service.health import HealthPart, Problems
from icm.v1.ingest_pb2_grpc import add_IngestServiceServicer_to_server
from tests.cloud_service.uplink import Uplink

CREDIT = 8
CREDIT_BYTES = 10_000
PENDING_BYTES = 30_000


class WatchedProblems(Problems):
    """Tells when there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.reported = asyncio.Event()

    def report(self, part: HealthPart, text: str) -> bool:
        self.reported.set()
        return super().report(part, text)


class Cloud:
    """A real ingest with a real store on a real port."""

    def __init__(self, bundle: Bundle, store: RecordStore) -> None:
        self.store, self.problems, self.metrics, self.clock = store, WatchedProblems(), Metrics("test"), ManualClock()
        self.commit = GroupCommit(store, 0.0, self.metrics.stage_seconds.labels("persist"), lambda: None)
        self.pending = Pending(PENDING_BYTES)
        context = IngestContext(
            Bundles([bundle]),
            store,
            self.commit,
            CREDIT,
            CREDIT_BYTES,
            self.pending,
            self.problems,
            self.metrics,
            self.clock,
            0.01,
            MAX_MESSAGE_BYTES,
        )
        self.chains, self.detections = context.chains, context.detections
        self.service = IngestService(context)
        self.server = Server("127.0.0.1:0", allow_plaintext=False)
        add_IngestServiceServicer_to_server(self.service, self.server.grpc)
        self.channel = open_channel(f"127.0.0.1:{self.server.port}", allow_plaintext=False)

    def uplink(self) -> Uplink:
        return Uplink(self.channel)

    def count(self, outcome: str) -> float:
        labels = {"camera": "gate", "outcome": outcome}
        return self.metrics.registry.get_sample_value("icm_cloud_records_total", labels) or 0.0

    @asynccontextmanager
    async def running(self, disk_hangs: bool = False) -> AsyncIterator[Cloud]:
        """Args: disk_hangs, until the commit is started."""
        if not disk_hangs:
            self.commit.start()
        await self.server.start()
        yield self
        await self.channel.close()
        await self.server.stop(0)
        await asyncio.to_thread(self.commit.stop)
