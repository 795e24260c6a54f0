"""Puts the parts of retention together for one store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, func, select

from cloud_service.archive.storage import ArchiveStorage
from cloud_service.database.opening import sqlite_path
from cloud_service.database.tables import RecordSegmentRow
from cloud_service.feedback.leases import Leases
from cloud_service.holds.book import HoldBook
from cloud_service.proof.keeper import ChainKeeper
from cloud_service.retention.clock import TrustedClock
from cloud_service.retention.disk import Ballast, space_apart, space_of
from cloud_service.retention.execution import Deleter, note_restored
from cloud_service.retention.loop import Retention
from cloud_service.retention.orphans import OrphanRounds
from cloud_service.retention.policy import Policy
from cloud_service.retention_settings import RetentionSettings
from cloud_service.store import RecordStore
from cloud_service.store.identity import FILE_NAME
from icm.errors import StorageError
from icm.service.clock import Clock
from icm.service.health import Problems

BALLAST_NAME = "ballast"


def open_retention(
    *,
    settings: RetentionSettings,
    root: Path,
    store_name: str,
    store: RecordStore,
    database: Engine,
    storage: ArchiveStorage,
    check_owned: Callable[[], None],
    check_archive: Callable[[], None],
    keeper: ChainKeeper | None,
    holds: HoldBook,
    leases: Leases,
    shed_cache: Callable[[int], int],
    edges_skew: Callable[[], float | None],
    clock: Clock,
    problems: Problems,
    reread: Callable[[], RetentionSettings] | None = None,
) -> Retention:
    """Opens retention for a store that this process owns.

    Args:
        root: the store's folder.
        store_name: what its identity must say whenever something is deleted.
        check_owned: raises a StorageError if the store is this process's no more.
        check_archive: raises a StorageError if the archive is another's, or is not there.
        keeper: of the chains of proof; None without.
        shed_cache: frees up to so many bytes of what was rendered on demand, and returns how many.
        reread: as of ``Retention``.
        edges_skew: returns how far edges' clocks are behind, in seconds; None if too few speak.

    Raises:
        StorageError: what retention remembers cannot be read, or the database does not answer.
    """

    def check() -> None:
        check_owned()
        path = root / FILE_NAME
        found = path.read_text("ascii").strip() if path.is_file() else ""
        if found != store_name:
            raise StorageError(
                f"{root} is {'record store ' + found if found else 'no record store'}, and this cloud's is"
                f" {store_name}: nothing is deleted; is the right disk mounted?"
            )
        check_archive()

    with database.connect() as connection:
        newest_us = connection.scalar(select(func.max(RecordSegmentRow.kept_from_us))) or 0
    note_restored(database, store, clock.now_us())
    file = sqlite_path(database)
    ballast = file.with_name(f"{file.name}.{BALLAST_NAME}") if file is not None else None
    deleter = Deleter(
        root=root,
        store=store,
        database=database,
        storage=storage,
        check=check,
        bury=keeper.deleted if keeper is not None else lambda deletions: None,
    )
    return Retention(
        root=root,
        store=store,
        database=database,
        deleter=deleter,
        policy=Policy.of(settings),
        time=TrustedClock(root, newest_us, edges_skew),
        clock=clock,
        holds=holds,
        leases=leases,
        shed_cache=shed_cache,
        orphans=lambda held: OrphanRounds(storage=storage, database=database, deleter=deleter, held=held, clock=clock),
        problems=problems,
        space=lambda: space_of(root),
        apart=lambda: space_apart(storage.folder, root),
        ballast=Ballast(ballast, settings.ballast_bytes),
        reread=reread,
    )
