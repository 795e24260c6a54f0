"""A cloud that only stores: the real ingest and record store in a process of their own, without decoder and archive."""

from __future__ import annotations

import argparse
import asyncio
import gc
from pathlib import Path

from cloud_service.bundles import Bundles
from cloud_service.database.opening import open_database
from cloud_service.ingest.camera_stream import IngestContext
from cloud_service.ingest.credit import Pending
from cloud_service.ingest.service import IngestService
from cloud_service.metrics import Metrics
from cloud_service.settings import ArchiveSettings, IngestSettings
from cloud_service.store import GroupCommit, RecordStore
from cloud_service.store.index import SegmentIndex
from icm.codec.bundle.loading import Bundle
from icm.rpc.limits import REFUSALS, ClientLimits
from icm.rpc.servers import Server
from icm.service.clock import SystemClock
from icm.service.health import Problems
from icm.v1.ingest_pb2_grpc import add_IngestServiceServicer_to_server


async def serve(bundle: Bundle, folder: Path) -> None:
    """Serves for ever; prints its port. The folder must be there."""
    settings, clock, metrics = IngestSettings(), SystemClock(), Metrics(bundle.name)
    index = SegmentIndex(open_database(f"sqlite:///{folder / 'cloud.db'}"))
    store = RecordStore(folder / "records", index, ArchiveSettings().segment_seconds, clock)
    persist_seconds = metrics.stage_seconds.labels("persist")
    commit = GroupCommit(store, settings.group_delay_seconds, persist_seconds, lambda: None)
    context = IngestContext(
        bundles=Bundles([bundle]),
        store=store,
        commit=commit,
        credit=settings.credit,
        credit_bytes=settings.credit_bytes,
        pending=Pending(settings.pending_bytes),
        problems=Problems(),
        metrics=metrics,
        clock=clock,
        retry_seconds=1.0,
        message_bytes=settings.limits.message_bytes,
    )
    limits = ClientLimits(settings.limits.streams, settings.limits.bytes_per_second, clock)
    calls = settings.limits.streams + REFUSALS
    server = Server("127.0.0.1:0", False, None, (limits,), settings.limits.message_bytes, calls)
    add_IngestServiceServicer_to_server(IngestService(context), server.grpc)
    commit.start()
    await server.start()
    gc.freeze()  # as cloud_service.app does
    print(server.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(serve(Bundle.load(options.bundle, 1), options.folder))
