"""Puts together what the cloud tells and does about what it keeps."""

from __future__ import annotations

from functools import partial

import grpc
from sqlalchemy import Engine

from cloud_service.access.access import Access
from cloud_service.api.hold_service import HoldService
from cloud_service.api.keeping.redetection_service import RedetectionService
from cloud_service.api.keeping.storage_service import StorageService
from cloud_service.api.keeping.verification_service import VerificationService
from cloud_service.archive.storage import ArchiveStorage
from cloud_service.clips.cache import RenderCache
from cloud_service.database.opening import sqlite_path
from cloud_service.holds.book import HoldBook
from cloud_service.holds.budget import HoldMeter
from cloud_service.metrics import Metrics
from cloud_service.proof.chain_file import FOLDER as CHAINS
from cloud_service.proof.chain_file import chained_cameras
from cloud_service.redetection.jobs import RedetectionJobs
from cloud_service.redetection.shelf import WeightsShelf
from cloud_service.retention.disk import most_held_bytes
from cloud_service.retention.figures.disk_shares import Disk
from cloud_service.retention.figures.metrics import RetentionGauges
from cloud_service.retention.figures.storage import StorageReporter
from cloud_service.retention.figures.what_if import WhatIf
from cloud_service.retention.loop import Retention
from cloud_service.settings import CloudSettings
from cloud_service.verification.child import Place
from cloud_service.verification.jobs import Verifications
from icm.service.clock import Clock
from icm.v1.hold_pb2_grpc import add_HoldServiceServicer_to_server
from icm.v1.redetection_pb2_grpc import add_RedetectionServiceServicer_to_server
from icm.v1.storage_pb2_grpc import add_StorageServiceServicer_to_server
from icm.v1.verification_pb2_grpc import add_VerificationServiceServicer_to_server


def open_keeping(
    *,
    server: grpc.aio.Server,
    settings: CloudSettings,
    retention: Retention,
    database: Engine,
    holds: HoldBook,
    storage: ArchiveStorage,
    cache: RenderCache,
    metrics: Metrics,
    clock: Clock,
    access: Access,
) -> Verifications:
    """Adds the services about what is kept to a server, and what is measured of it to the metrics.

    Args:
        server: that has not started.
        storage: of the archive.
        cache: of what was rendered on demand.
        access: who may read which camera.

    Returns:
        The verifications, to be started.

    Raises:
        StorageError: the store's folder cannot be used.
    """
    root, file = settings.records_folder, sqlite_path(database)
    disk = Disk(root, storage.folder, file, cache.taken_bytes)
    most = partial(most_held_bytes, lambda: retention.policy.settings, settings.store.folder)
    add_HoldServiceServicer_to_server(
        HoldService(holds=holds, meter=HoldMeter(database), most_bytes=most, clock=clock, access=access), server
    )
    reporter = StorageReporter(retention=retention, database=database, holds=holds, disk=disk, clock=clock)
    what_if = WhatIf(
        settings=lambda: retention.policy.settings,
        now_us=lambda: retention.state.clock.now_us,
        database=database,
        root=root,
        archive=storage.folder,
        holds=holds,
        clock=clock,
    )
    add_StorageServiceServicer_to_server(StorageService(reporter, what_if, most, access), server)
    chains = settings.store.folder / CHAINS
    verifications = Verifications(Place(settings.store.folder, root, settings.database_url), clock)

    def cameras() -> frozenset[str]:
        folders = {path.name for path in root.iterdir() if path.is_dir()} if root.is_dir() else set()
        return frozenset(folders.union(chained_cameras(chains)))

    add_VerificationServiceServicer_to_server(VerificationService(verifications, cameras, access), server)
    jobs, shelf = RedetectionJobs(database), WeightsShelf(settings)
    add_RedetectionServiceServicer_to_server(RedetectionService(jobs, shelf, clock, access), server)
    metrics.registry.register(RetentionGauges(retention, database, holds, disk, metrics.cameras))
    return verifications
