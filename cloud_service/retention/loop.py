"""The loop that deletes: a pass at least every minute, in small batches, with a heartbeat."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.database.damage import trouble
from cloud_service.database.statements import put_rows, transaction
from cloud_service.database.usage import Tier, UsageKey, read_usage
from cloud_service.database.usage_tables import UsageRow
from cloud_service.feedback.leases import Leases
from cloud_service.holds.book import HoldBook
from cloud_service.holds.budget import HoldBudgets, HoldMeter
from cloud_service.retention.clock import Reading, TrustedClock
from cloud_service.retention.disk import Ballast, Floor, Freed, Space
from cloud_service.retention.execution import Deleter
from cloud_service.retention.items import Item, Planned, Reason
from cloud_service.retention.orphans import OrphanRounds
from cloud_service.retention.plan import Need, Planning, Scans
from cloud_service.retention.policy import DERIVED, Policy
from cloud_service.retention.rules import Rules
from cloud_service.retention.state import State
from cloud_service.retention.view import DatabaseView
from cloud_service.retention_settings import RetentionSettings
from cloud_service.store import RecordStore
from icm.errors import StorageError, StorageFullError
from icm.service.clock import Clock
from icm.service.health import Problems

log = logging.getLogger(__name__)
PASS_SECONDS = 60.0
RETRY_SECONDS = 600.0
"""After which what a rule let stand for the moment is looked at again."""
_RESET_SECONDS = 86_400.0
_TICK_SECONDS = 1.0
REQUESTS = ("apply", "trust-clock", "run")
"""What an operator may ask for, by a file ``retention.<word>`` in the store's folder."""


class Retention:
    """Deletes what the rules say, from one store. ``start`` it, and ``stop`` it; ``run_pass`` is a pass by itself.

    Attributes:
        state: for metrics.
    """

    def __init__(
        self,
        *,
        root: Path,
        store: RecordStore,
        database: Engine,
        deleter: Deleter,
        policy: Policy,
        time: TrustedClock,
        clock: Clock,
        holds: HoldBook,
        leases: Leases,
        shed_cache: Callable[[int], int],
        orphans: Callable[[Callable[[str, int, int, int], bool]], OrphanRounds],
        problems: Problems,
        space: Callable[[], Space],
        apart: Callable[[], Space | None],
        ballast: Ballast,
        reread: Callable[[], RetentionSettings] | None = None,
    ) -> None:
        """Creates the loop.

        Args:
            root: the store's folder.
            time: that ages are counted by.
            clock: for spans, and for when things were deleted.
            shed_cache: frees up to so many bytes of what was rendered on demand, and returns how many.
            orphans: makes the rounds, which are told what is held.
            space: returns what the store's file system has.
            apart: returns what the archive's has; None if it is on the same.
            reread: returns the settings as they are now, the same object until they change; None if they do not.

        Raises:
            StorageError: what was applied last cannot be read.
        """
        self._root, self._store, self._database, self._deleter = root, store, database, deleter
        self._time, self._clock, self._holds, self._leases = time, clock, holds, leases
        self._space, self._apart, self._ballast, self._shed_cache = space, apart, ballast, shed_cache
        self._view, self._scans = DatabaseView(database, root), Scans()
        self._part, self._clock_part = problems.part("retention"), problems.part("retention's clock")
        self._rules = Rules(
            root=root,
            wanted=policy,
            view=self._view,
            database=database,
            now_us=lambda: time.read().now_us,
            problems=problems,
        )
        self._reread, self._read = reread, reread() if reread is not None else None
        self._floor, self._freed = Floor(self.policy.settings.total), Freed()
        self._floor_apart = Floor(self.policy.settings.total)
        self._active: tuple[object, ...] = ()
        self._budgets = HoldBudgets(holds, HoldMeter(database))
        self._orphans = orphans(self._is_segment_held)
        self._retried = self._reset = clock.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self.state = State(waiting=self._rules.waiting)

    @property
    def policy(self) -> Policy:
        """The rules that hold."""
        return self._rules.held

    def start(self) -> None:
        for line in self.policy.lines():
            log.info("%s", line)
        self._thread.start()

    def stop(self) -> None:
        """Returns when the batch under way is done."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def check_not_blocked(self) -> None:
        """Checks that records may be taken.

        Raises:
            StorageFullError: the floor is broken, and nothing is left that may be deleted for it.
        """
        if self.state.blocked:
            raise StorageFullError(
                f"the disk of {self._root} is nearly full, and no rule of retention lets anything more go: free some,"
                " or change retention.floor"
            )

    def run_pass(self) -> list[Planned]:
        """One pass: all that is to go now. What goes wrong is a health problem, and tried again with the next.

        Returns:
            What went.
        """
        gone: list[Planned] = []
        try:
            self._pass(gone)
        except (StorageError, SQLAlchemyError, OSError) as error:
            text = trouble(error) if isinstance(error, SQLAlchemyError) else str(error)
            if self._part.report(text):
                log.error("retention stands still: %s", text)
            # What was planned and did not go is looked at again.
            self._scans.reset()
            if _is_full(error):
                self._ballast.drop()
        else:
            self._part.clear()
            self.state.last_success_us = self._clock.now_us()
            self._ballast.fill()
        with suppress(SQLAlchemyError, OSError):
            self._count_overdue()
        return gone

    def _run(self) -> None:
        since = -PASS_SECONDS
        while not self._stopping.is_set():
            now = self._clock.monotonic()
            if self._requested() or self._changed() or now - since >= PASS_SECONDS:
                since = now
                self.run_pass()
            self._stopping.wait(_TICK_SECONDS)

    def _changed(self) -> bool:
        """Takes changed settings up, as a start would; returns whether a pass is to follow."""
        if self._reread is None or (read := self._reread()) is self._read:
            return False
        self._read = read
        try:
            self._rules.propose(Policy.of(read))
        except (StorageError, SQLAlchemyError) as error:
            text = trouble(error) if isinstance(error, SQLAlchemyError) else str(error)
            log.error("retention goes on with the rules before, as changed ones cannot be looked at: %s", text)
            # Looked at again with the next tick.
            self._read = None
            return False
        self._take_up()
        if not self.state.waiting:
            log.info("retention goes by the changed settings")
        return True

    def _requested(self) -> bool:
        """Does what an operator asks for; returns whether a pass is to follow."""
        found = False
        for word in REQUESTS:
            path = self._root / f"retention.{word}"
            if not path.exists():
                continue
            path.unlink(missing_ok=True)
            found = True
            log.info("retention: an operator asks for %s", word)
            try:
                if word == "apply":
                    self.apply()
                elif word == "trust-clock":
                    self._time.trust()
                else:
                    # Who asks now does not mean in ten minutes: what is planned for a person goes with this pass.
                    self._scans.retry()
            except StorageError as error:
                self._part.report(str(error))
        return found

    def apply(self) -> None:
        """A person says that the rules of the settings hold, whatever they delete.

        Raises:
            StorageError: the disk refused.
        """
        self._rules.apply()
        self._take_up()

    def _take_up(self) -> None:
        """The rules may have changed."""
        self.state.waiting = self._rules.waiting
        self._floor.settings = self._floor_apart.settings = self.policy.settings.total
        self._scans.reset()

    def _pass(self, gone: list[Planned]) -> None:
        reading = self._time.read()
        self.state.clock = reading
        if reading.trusted:
            self._clock_part.clear()
        elif self._clock_part.report(reading.why):
            log.warning("retention: %s", reading.why)
        self._check_there()
        self.state.holds = self._budgets.check(reading.now_us, self._clock.now_us())
        self._publish_keyframes()
        self._deleter.collect()
        self._sweep(reading)
        self._forget_scans()
        while not self._stopping.is_set():
            space, apart = self._space(), self._apart()
            self.state.apart = apart is not None
            planning = Planning(
                policy=self.policy,
                view=self._view,
                scans=self._scans,
                now_us=reading.now_us,
                usage=read_usage(self._database),
                need=self._needed(space),
                held=self._is_held,
                leased=self._is_leased,
                apart=None if apart is None else self._floor_apart.need(apart),
            )
            batch = next(planning.batches(), None)
            if batch is None:
                self._conclude(planning.exhausted, space)
                return
            # A hold that was added a moment ago counts, and a reader that came then.
            free = [each for each in batch if not self._is_held(each.item, each.reason)]
            done = self._delete([each for each in free if not self._is_leased(each.item)], space)
            gone += done
            if not done:
                return

    def _needed(self, space: Space) -> Need:
        """What the floors lack once the render cache has given what it can."""
        if self._freed.in_vain:
            return Need()
        need = self._floor.need(space)
        if need.bytes and "render_cache" in self.policy.settings.floor.order:
            freed = self._shed_cache(need.bytes)
            if freed:
                log.info("the render cache gave up %d bytes for the floor", freed)
            return Need(max(0, need.bytes - freed), need.inodes)
        return need

    def _check_there(self) -> None:
        """Checks that the store and its archive are there, and whole.

        Raises:
            StorageError: they are not.
        """
        self.state.store_missing = True
        self._deleter.check()
        self._check_missing()
        self.state.store_missing = False

    def _sweep(self, reading: Reading) -> None:
        for gone in self._orphans.step(reading):
            key = gone.camera, gone.tier.value, Reason.ORPHAN.value
            self.state.deleted_bytes[key] += gone.disk_bytes
            self.state.deleted_items[key] += 1
        staying = self._orphans.staying
        self.state.orphan_files, self.state.orphan_bytes = len(staying), sum(of.disk_bytes for of in staying)

    def _delete(self, batch: Sequence[Planned], before: Space) -> list[Planned]:
        done = self._deleter.delete(batch, "retention", self._clock.now_us())
        if len(done.planned) < len(batch):
            self._scans.reset()
        elsewhere = sum(each.item.disk_bytes for each in done.planned if self.state.apart and each.item.tier in DERIVED)
        self._freed.note(done.disk_bytes - elsewhere, self._space().free_bytes - before.free_bytes)
        for each in done.planned:
            key = each.item.camera, each.item.tier.value, each.reason.value
            self.state.deleted_bytes[key] += each.item.disk_bytes
            self.state.deleted_items[key] += 1
        if done.planned:
            first = done.planned[0]
            log.info(
                "deleted %d items of %d bytes, %s of %s by %s the first",
                len(done.planned), done.disk_bytes, first.item.tier, first.item.camera, first.rule,
            )  # fmt: skip
        return done.planned

    def _conclude(self, exhausted: bool, space: Space) -> None:
        """All is done that may be."""
        state = self.state
        state.floor_active = self._floor.active or self._floor_apart.active
        state.freed_in_vain = self._freed.in_vain
        state.blocked = (exhausted or self._freed.in_vain) and self._floor.is_pressing(space)
        if self._freed.in_vain:
            raise StorageError(
                f"deletions free nothing on the disk of {self._root}: does it keep snapshots? No more goes for the"
                " floor until a restart"
            )
        if state.blocked:
            self.check_not_blocked()

    def _publish_keyframes(self) -> None:
        rows = [
            {**UsageKey(camera, Tier.KEYFRAMES)._asdict(), **amount._asdict()}
            for camera, amount in self._store.keyframes.usage().items()
        ]
        with transaction(self._database) as connection:
            put_rows(connection, UsageRow, rows, update=("files", "bytes", "disk_bytes"))

    def _is_segment_held(self, camera: str, number: int, first_us: int, last_us: int) -> bool:
        return any(
            hold.keeps(camera, number, first_us, last_us) for hold in self._holds.active(self.state.clock.now_us)
        )

    def _is_held(self, item: Item, reason: Reason) -> bool:
        return any(
            hold.keeps(item.camera, item.number, item.first_capture_us, item.last_capture_us)
            and not (hold.within_max_age and reason is Reason.MAX_AGE)
            for hold in self._holds.active(self.state.clock.now_us)
        )

    def _is_leased(self, item: Item) -> bool:
        return self._leases.keeps(item.camera, item.first_capture_us, item.last_capture_us)

    def _count_overdue(self) -> None:
        """Adds up the oldest that should be gone by now; one page of each camera and tier says enough."""
        now, overdue = self.state.clock.now_us, Counter[str]()
        for camera in self._view.cameras() if now is not None else ():
            rules = self.policy.camera(camera)
            for tier in (Tier.RECORDS, *DERIVED, Tier.INDEX):
                if now is not None and (lines := rules.lines(tier)) and rules.tiers[tier].max_age_us is not None:
                    late = self._view.page(tier, camera, None, now - lines[0] - round(PASS_SECONDS * 1e6))
                    overdue[tier] += sum(of.disk_bytes for of in late if not self._is_held(of, Reason.MAX_AGE))
        self.state.overdue_bytes = overdue

    def _check_missing(self) -> None:
        """Checks that the disk is the one that the database is about.

        Raises:
            StorageError: too many files are not there.
        """
        missing, there = self._view.missing()
        if missing > max(2, 0.01 * there):
            raise StorageError(
                f"{missing} segments are missing below {self._root} that nobody deleted, {there} are there: is the"
                " right disk mounted, and all of it?"
            )

    def _forget_scans(self) -> None:
        now = self._clock.monotonic()
        # A hold that expires changes no version.
        active = self._holds.version, *(hold.id for hold in self._holds.active(self.state.clock.now_us))
        if active != self._active or now - self._reset >= _RESET_SECONDS:
            self._active, self._reset, self._retried = active, now, now
            self._scans.reset()
        elif now - self._retried >= RETRY_SECONDS:
            self._retried = now
            self._scans.retry()


def _is_full(error: BaseException) -> bool:
    return isinstance(error, StorageFullError) or "disk is full" in str(error)
