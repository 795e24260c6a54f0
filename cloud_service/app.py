"""Wires the cloud's parts together; nothing else."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType

from cloud_service.access.access import ANYBODY, Access, certificate_access
from cloud_service.api.archive_service import ArchiveService
from cloud_service.api.clip_service import ClipService
from cloud_service.api.export_service import ExportService
from cloud_service.api.frames_service import FramesService
from cloud_service.api.inspect_service import InspectService
from cloud_service.api.keeping.opening import open_keeping
from cloud_service.api.live_service import LiveService
from cloud_service.api.proof_service import ProofService
from cloud_service.api.search_service import SearchService
from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.archive.owner import ArchiveOwner
from cloud_service.archive.rendering import SegmentRenderer
from cloud_service.archive.storage import ArchiveStorage
from cloud_service.archive.writer import ArchiveWriter
from cloud_service.bundles import Bundles
from cloud_service.clips.cache import RenderCache
from cloud_service.clips.making import ClipMaker
from cloud_service.clips.sources import SourceFinder
from cloud_service.database.opening import open_database, own_database
from cloud_service.database.waiting import SERVER_WAIT_SECONDS
from cloud_service.detection import Detector
from cloud_service.events.feed import EventFeed
from cloud_service.events.store import EventStore
from cloud_service.evidence.camera_export import ExportSources
from cloud_service.evidence.exporter import open_exporter
from cloud_service.feedback.arrivals import Arrivals
from cloud_service.feedback.broken_references import BrokenReferences
from cloud_service.feedback.edge_clocks import EdgeClocks
from cloud_service.feedback.last_detections import LastDetections
from cloud_service.feedback.leases import Leases
from cloud_service.feedback.segment_leases import SegmentLeases
from cloud_service.gauges import StorageGauges
from cloud_service.holds.book import HoldBook
from cloud_service.ingest.camera_stream import IngestContext
from cloud_service.ingest.credit import Pending
from cloud_service.ingest.service import IngestService
from cloud_service.inspection.chain_reader import ChainReader
from cloud_service.inspection.inspector import FrameInspector
from cloud_service.inspection.stored_frames import StoredFrames
from cloud_service.live.hub import LiveHub
from cloud_service.live.stills import Stills
from cloud_service.metrics import Metrics
from cloud_service.processing.engine.decoding import BatchDecoder
from cloud_service.processing.engine.in_process import InProcessEngine
from cloud_service.processing.engine.reuse import ReuseBound
from cloud_service.processing.pipeline import Pipeline
from cloud_service.proof.chain_file import FOLDER as CHAINS
from cloud_service.proof.chain_index import ChainIndex
from cloud_service.proof.keeper import open_keeper
from cloud_service.redetection.jobs import RedetectionJobs
from cloud_service.redetection.worker import Redetection
from cloud_service.retention.execution import collect_garbage
from cloud_service.retention.opening import open_retention
from cloud_service.retention_settings import RetentionSettings
from cloud_service.seals.edge_keys import EdgeKeys
from cloud_service.seals.files import FOLDER as SEALS
from cloud_service.seals.keeper import SealKeeper
from cloud_service.settings import CloudSettings
from cloud_service.sightings.background import BackgroundFolding
from cloud_service.store import GroupCommit, RecordStore
from cloud_service.store.identity import check_identity, own_store
from cloud_service.store.index import SegmentIndex
from icm.rpc.certificate_expiry import watch_certificates
from icm.rpc.limits import REFUSALS, ClientLimits
from icm.rpc.servers import Server
from icm.service.clock import SystemClock
from icm.service.health import Problems
from icm.service.stopping import stopping
from icm.service.telemetry import TelemetryServer
from icm.v1.archive_pb2_grpc import add_ArchiveServiceServicer_to_server
from icm.v1.clip_pb2_grpc import add_ClipServiceServicer_to_server
from icm.v1.export_pb2_grpc import add_ExportServiceServicer_to_server
from icm.v1.frames_pb2_grpc import add_FramesServiceServicer_to_server
from icm.v1.ingest_pb2_grpc import add_IngestServiceServicer_to_server
from icm.v1.inspect_pb2_grpc import add_InspectServiceServicer_to_server
from icm.v1.live_pb2_grpc import add_LiveServiceServicer_to_server
from icm.v1.proof_pb2_grpc import add_ProofServiceServicer_to_server
from icm.v1.search_pb2_grpc import add_SearchServiceServicer_to_server

log = logging.getLogger(__name__)
RETRY_SECONDS = 1.0
"""How long to wait before trying again what the disk refused to persist."""
_GRACE_SECONDS = 2.0
"""For calls under way when the server stops."""


class App:
    """The cloud service. ``start`` it inside a running event loop, and ``stop`` it there."""

    def __init__(
        self,
        settings: CloudSettings,
        bundles: Bundles,
        detector: Detector | None,
        reread_retention: Callable[[], RetentionSettings] | None = None,
    ) -> None:
        """Takes the store and the database, opens everything, but serves nothing yet.

        Args:
            reread_retention: returns the settings of retention as they are now; None if they stay as they are.

        Raises:
            ConfigError: a setting cannot work.
            ListenError: an address cannot be listened on.
            StorageError: the store or the database cannot be opened, or another process uses them.
        """
        with ExitStack() as owned:
            self._open(settings, bundles, detector, reread_retention, owned)
            self._owned = owned.pop_all()

    def _open(
        self,
        settings: CloudSettings,
        bundles: Bundles,
        detector: Detector | None,
        reread_retention: Callable[[], RetentionSettings] | None,
        owned: ExitStack,
    ) -> None:
        self._drain_seconds = settings.drain_seconds
        clock, problems = SystemClock(), Problems()
        metrics = Metrics(bundles.first.name)
        # Before anything is read, as reading repairs.
        store_lock = own_store(settings.records_folder)
        owned.callback(store_lock.release)
        if (database_lock := own_database(settings.database_url)) is not None:
            owned.callback(database_lock.release)
        database = open_database(settings.database_url, SERVER_WAIT_SECONDS)
        owned.callback(database.dispose)
        store_name = check_identity(settings.records_folder, database)
        storage = ArchiveStorage(settings.archive_url)
        archive_owner = ArchiveOwner(storage, store_name, VideoCatalogue(database).knows_any)
        owned.callback(archive_owner.release)
        self._keeper = open_keeper(
            folder=settings.store.folder,
            records=settings.records_folder,
            store=store_name,
            database=database,
            clock=clock,
            problems=problems,
        )
        # Before the store looks at files, of which some were on their way out.
        collect_garbage(database, settings.records_folder, None)
        store = RecordStore(
            settings.records_folder,
            SegmentIndex(database),
            settings.archive.segment_seconds,
            clock,
            store_lock.check,
            self._keeper.sealed,
        )
        self._read_at_start = store.read_at_start
        edge_keys = EdgeKeys(self._keeper, store.names, clock)
        self._seals = SealKeeper(
            records=settings.records_folder,
            folder=settings.store.folder / CHAINS / SEALS,
            holder=store.holder,
            is_deleted=self._keeper.is_deleted,
            is_edge_key=edge_keys.is_known,
            clock=clock,
            problems=problems,
        )
        for camera, reasons in store.unreadable.items():
            problems.part("record store", camera).report(f"{len(reasons)} segments cannot be read whole: {reasons[0]}")
        events, catalogue = EventStore(database), VideoCatalogue(database)
        self._feed = EventFeed()
        engine = InProcessEngine(
            decoder=BatchDecoder(bundles),
            detector=detector,
            renderer=SegmentRenderer(settings.archive.thumbnail_width),
            stage_seconds=metrics.stage_seconds,
            reuse=ReuseBound.of(settings.detector),
        )
        chains, detections = BrokenReferences(), LastDetections()
        leases, arrivals = Leases(clock), Arrivals(clock)
        readers = SegmentLeases(leases, store)
        frames = StoredFrames(store, bundles, readers)
        self._live = LiveHub(
            store=store, stills=Stills(frames.picture, events), arrivals=arrivals, clock=clock, model=engine.model
        )
        self._pipeline = Pipeline(
            store=store,
            engine=engine,
            database=database,
            archive=ArchiveWriter(storage, archive_owner.check),
            feed=self._feed,
            problems=problems,
            metrics=metrics,
            clock=clock,
            chains=chains,
            detections=detections,
            live=self._live,
        )
        self._redetection = Redetection(
            jobs=RedetectionJobs(database),
            store=store,
            bundles=bundles,
            settings=settings,
            leases=readers,
            is_idle=lambda: self._pipeline.is_idle,
            problems=problems,
        )
        edge_clocks, holds = EdgeClocks(clock), HoldBook(settings.records_folder, store_lock.check)
        cache = RenderCache(settings.render_cache_folder, settings.archive.render_cache_bytes)
        self._retention = open_retention(
            settings=settings.retention,
            root=settings.records_folder,
            store_name=store_name,
            store=store,
            database=database,
            storage=storage,
            check_owned=store_lock.check,
            check_archive=archive_owner.confirm,
            keeper=self._keeper,
            holds=holds,
            leases=leases,
            shed_cache=cache.give,
            edges_skew=edge_clocks.skew_seconds,
            clock=clock,
            problems=problems,
            reread=reread_retention,
        )
        self._folding = BackgroundFolding(store=store, database=database, problems=problems)
        self._commit = GroupCommit(
            store,
            settings.ingest.group_delay_seconds,
            metrics.stage_seconds.labels("persist"),
            self._pipeline.wake,
            self._retention.check_not_blocked,
        )
        ingest = settings.ingest
        certificates = certificate_access(ingest.tls, clock)
        access: Access = certificates or ANYBODY
        pending = Pending(ingest.pending_bytes)
        metrics.watch_pending(lambda: pending.bytes)
        context = IngestContext(
            bundles=bundles,
            store=store,
            commit=self._commit,
            credit=ingest.credit,
            credit_bytes=ingest.credit_bytes,
            pending=pending,
            problems=problems,
            metrics=metrics,
            clock=clock,
            retry_seconds=RETRY_SECONDS,
            message_bytes=ingest.limits.message_bytes,
            chains=chains,
            detections=detections,
            edge_clocks=edge_clocks,
            arrivals=arrivals,
            newest_head=self._keeper.newest,
            take_seal=self._seals.take,
        )
        self._ingest = IngestService(context, access)
        limits = ClientLimits(ingest.limits.streams, ingest.limits.bytes_per_second, clock)
        guards = (certificates, limits) if certificates else (limits,)
        self._server = Server(
            ingest.address,
            ingest.allow_plaintext,
            ingest.tls,
            guards,
            ingest.limits.message_bytes,
            ingest.limits.streams + REFUSALS,
        )
        add_IngestServiceServicer_to_server(self._ingest, self._server.grpc)
        add_ArchiveServiceServicer_to_server(
            ArchiveService(frames, store, catalogue, events, self._feed, detector is not None, access),
            self._server.grpc,
        )
        linked = ChainReader(settings.store.folder / CHAINS, ChainIndex(database))
        inspect = InspectService(FrameInspector(frames, store, events, linked), access)
        add_InspectServiceServicer_to_server(inspect, self._server.grpc)
        add_LiveServiceServicer_to_server(LiveService(self._live, access), self._server.grpc)
        exporter = open_exporter(
            name=store_name,
            settings=settings,
            sources=ExportSources(
                records=settings.records_folder,
                seals=settings.store.folder / CHAINS / SEALS,
                store=store,
                bundles=bundles,
                events=events,
                storage=storage,
            ),
            catalogue=catalogue,
            database=database,
            chains=self._keeper,
            leases=readers,
            clock=clock,
        )
        add_ExportServiceServicer_to_server(ExportService(exporter, access), self._server.grpc)
        finder = SourceFinder(store, catalogue, storage, database)
        maker = ClipMaker(store=store, sources=finder, bundles=bundles, events=events, cache=cache)
        clips = ClipService(maker, finder, readers, cache, access)
        add_ClipServiceServicer_to_server(clips, self._server.grpc)
        proof = ProofService(settings.store.folder / CHAINS, ChainIndex(database), edge_keys.accept, access)
        add_ProofServiceServicer_to_server(proof, self._server.grpc)
        add_SearchServiceServicer_to_server(SearchService(database, store, access), self._server.grpc)
        add_FramesServiceServicer_to_server(FramesService(store, access), self._server.grpc)
        metrics.registry.register(StorageGauges(store, database, self._pipeline.backlog_bytes, metrics.cameras))
        self._verifications = open_keeping(
            server=self._server.grpc,
            settings=settings,
            retention=self._retention,
            database=database,
            holds=holds,
            storage=storage,
            cache=cache,
            metrics=metrics,
            clock=clock,
            access=access,
        )
        watch_certificates(metrics.registry, {"ingest": ingest.tls})
        self._telemetry = TelemetryServer(settings.metrics.address, metrics.registry, problems.lines)

    @property
    def port(self) -> int:
        """Of the gRPC server."""
        return self._server.port

    @property
    def metrics_port(self) -> int:
        """Of /metrics and /healthz."""
        return self._telemetry.port

    async def start(self) -> None:
        self._keeper.start(self._read_at_start)
        self._seals.start()
        self._commit.start()
        self._pipeline.start()
        self._redetection.start()
        self._verifications.start()
        self._retention.start()
        self._folding.start()
        self._telemetry.start()
        await self._server.start()
        log.info("listening grpc=%d metrics=%d", self.port, self.metrics_port)

    async def stop(self) -> None:
        """Takes no more records, acknowledges what came, lets detector and archive catch up for a while, and ends."""
        await self._server.set_serving(False)
        await self._ingest.drain()
        await asyncio.to_thread(self._retention.stop)
        await asyncio.to_thread(self._commit.stop)
        await asyncio.to_thread(self._seals.stop)
        await asyncio.to_thread(self._keeper.stop)
        await asyncio.to_thread(self._redetection.stop)
        await asyncio.to_thread(self._verifications.stop)
        await asyncio.to_thread(self._pipeline.stop, self._drain_seconds)
        await asyncio.to_thread(self._folding.stop)
        self._feed.close()
        await asyncio.to_thread(self._live.close)
        await self._server.stop(_GRACE_SECONDS)
        await asyncio.to_thread(self._telemetry.stop)
        self._owned.close()


async def run(app: App) -> int:
    """Serves until SIGTERM or SIGINT, or until a part of the service breaks; returns the process's exit status."""
    loop, ended, status = asyncio.get_running_loop(), asyncio.Event(), 0

    def broken(args: threading.ExceptHookArgs) -> None:
        nonlocal status
        status = 1
        log.critical("thread %s broke", args.thread and args.thread.name, exc_info=_exc_info(args))
        loop.call_soon_threadsafe(ended.set)

    threading.excepthook = broken
    with stopping(loop, ended.set):
        await app.start()
        # What is loaded stays; to look through it for garbage again and again takes a tenth of a busy ingest's time.
        gc.freeze()
        await ended.wait()
        log.info("stopping")
        await app.stop()
    log.info("stopped")
    return status


def _exc_info(args: threading.ExceptHookArgs) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    return args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
