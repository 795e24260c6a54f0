"""Rounds through the archive for orphans: one a week, a few folders with each pass."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy import Engine

from cloud_service.archive.orphans import Orphan, OrphanSweep
from cloud_service.archive.storage import ArchiveStorage
from cloud_service.retention.clock import Reading
from cloud_service.retention.execution import Deleter
from icm.service.clock import Clock

log = logging.getLogger(__name__)
FIRST_SECONDS = 3600.0
"""After the start of the service, so that what an earlier process left is rendered again first."""
EVERY_SECONDS = 7 * 86_400.0


class OrphanRounds:
    """Deletes orphans, or says that there are some. Belongs to one thread.

    Attributes:
        staying: those that the last whole round found and let stand.
    """

    def __init__(
        self,
        *,
        storage: ArchiveStorage,
        database: Engine,
        deleter: Deleter,
        held: Callable[[str, int, int, int], bool],
        clock: Clock,
    ) -> None:
        """Plans the first round.

        Args:
            held: as of ``OrphanSweep``.
        """
        self._deleter, self._clock = deleter, clock
        self._begin: Callable[[], OrphanSweep] = lambda: OrphanSweep(storage, database, held)
        self._sweep: OrphanSweep | None = None
        self._next = clock.monotonic() + FIRST_SECONDS
        self.staying: list[Orphan] = []

    def step(self, reading: Reading) -> list[Orphan]:
        """Goes on, if a round is due and the clock can be trusted.

        Returns:
            What went.

        Raises:
            StorageError: the archive or the database refused; the round begins anew the next time.
            SQLAlchemyError: as for StorageError.
        """
        if not reading.trusted or reading.now_us is None:
            return []
        if self._sweep is None:
            if self._clock.monotonic() < self._next:
                return []
            self._sweep = self._begin()
        sweep, self._sweep = self._sweep, None
        self._deleter.check()
        swept = sweep.step(reading.now_us)
        if swept is None:
            self._sweep = sweep
            return []
        self._next = self._clock.monotonic() + EVERY_SECONDS
        self.staying = list(swept.staying)
        gone = self._deleter.delete_orphans(swept.going)
        if gone:
            log.info(
                "deleted %d orphans of %d files in the archive, %s the first", len(gone), swept.files, gone[0].path
            )
        if self.staying:
            log.warning(
                "%d of %d files in the archive are known to no row and stay, %s the first: they are too many, or their"
                " segments are unknown, not rendered yet, or held",
                len(self.staying), swept.files, self.staying[0].path,
            )  # fmt: skip
        return gone
