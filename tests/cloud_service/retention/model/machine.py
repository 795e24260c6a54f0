"""A store, its loop, and a machine whose clock and disk do what they like: every pass is compared with an oracle.

Ages, holds, disks and limits lie at the edges of the rules on purpose: what a rule gets wrong shows there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import Engine

from cloud_service.database.opening import open_database
from cloud_service.database.tables import Base
from cloud_service.holds.book import Hold
from cloud_service.retention.clock import Moment
from cloud_service.retention.disk import Space
from cloud_service.retention.execution import Step
from cloud_service.retention.loop import RETRY_SECONDS
from cloud_service.retention_settings import RetentionSettings
from tests.cloud_service.parts import EPOCH, close_stores
from tests.cloud_service.retention.model.oracle import DERIVED, Disk, Held, Known, Oracle, Outcome, Size, Thing
from tests.cloud_service.retention.model.strategies import (
    AGES,
    BLOCK,
    CAMERAS,
    CRASHES,
    DISK_BYTES,
    EDGES_US,
    FOUND,
    GAPS_US,
    HOUR_US,
    INODES,
    RAM,
    SETTINGS,
    TIER_OF,
    TOLERANCE_US,
    YEARS_US,
)
from tests.cloud_service.retention.test_loop import Running
from tests.cloud_service.retention.world import SEGMENT_US, Crash, World


@cache
def opened_database() -> tuple[TemporaryDirectory[str], Engine]:
    """One for all runs: making one, and statements ready for it, takes longer than a run."""
    folder = TemporaryDirectory(prefix="icm-retention-", dir=RAM)
    return folder, open_database(f"sqlite:///{folder.name}/cloud.db")


def empty_database() -> Engine:
    _, database = opened_database()
    with database.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
    return database


class Machine(RuleBasedStateMachine):
    """See the module."""

    @initialize(
        told=SETTINGS,
        offs=st.tuples(*[st.sampled_from([0, 0, -3 * HOUR_US, 24 * HOUR_US, -200 * HOUR_US])] * 2),
        segments=st.lists(st.tuples(CAMERAS, GAPS_US), min_size=3, max_size=6),
        found=st.lists(st.tuples(FOUND, st.booleans()), min_size=2, max_size=6),
    )
    def begin(
        self,
        told: dict[str, Any],
        offs: tuple[int, int],
        segments: list[tuple[str, int]],
        found: list[tuple[dict[str, float], bool]],
    ) -> None:
        self.folder = TemporaryDirectory(prefix="icm-retention-", dir=RAM)
        self.database = empty_database()
        self.world = World(Path(self.folder.name), self.database)
        self.told, self.settings = told, RetentionSettings.model_validate(told)
        self.clock_offs = {"gate": offs[0], "yard": offs[1]}
        self.off_us, self.foreign, self.foreign_inodes = 0, 0, 0
        self.known: dict[tuple[str, int], Known] = {}
        self.holds: dict[str, Held] = {}
        self.running = Running(self.world)
        for camera, gap_us in segments:
            self.add(camera, gap_us)
        self.open()
        for (camera, number), (classes, video) in zip(list(self.known), found, strict=False):
            self.look_at(camera, number, classes, video)

    # What lies there, and what is to become of it.

    def open(self) -> None:
        """Retention begins anew, as after a start."""
        self.running.open(**self.told)
        self.running.retention.apply()
        retention, real = self.running.retention, self.world.clock
        retention._time._moment = lambda: Moment(real.now_us() + self.off_us, "boot", real.now_us())
        retention._space = lambda: Space(*self.disk())
        self.lacking, self.looked_anew, self.opened_at = False, True, real.monotonic()

    def add(self, camera: str, gap_us: int) -> None:
        """A segment that begins so long after the newest ended."""
        newest = max((each.arrived_us - 100_000 for each in self.known.values()), default=0)
        self.world.clock.advance(max(0, newest + gap_us - self.world.clock.now_us()) / 1e6)
        first = self.world.clock.now_us() + self.clock_offs[camera]
        self.world.seal(camera, clock_off_us=self.clock_offs[camera])
        number, arrived = self.world.numbers(camera)[-1], self.world.clock.now_us()
        self.known[camera, number] = Known(camera, number, arrived, first, first + 900_000, first + SEGMENT_US)

    def look_at(self, camera: str, number: int, classes: dict[str, float], video: bool) -> None:
        """A detector goes through a segment, unless it is behind or before where it stands."""
        there = self.world.numbers(camera)
        undetected = [each for each in there if not self.known[camera, each].detected]
        if number not in undetected[:1]:
            return
        self.world.detect(number, camera, *classes.items())
        self.world.add_keyframe(number, camera)
        if video:
            self.world.add_video(number, camera)
        self.known[camera, number].detected, self.known[camera, number].found = True, classes
        self.looked_anew = False

    def there(self) -> dict[Thing, Size]:
        """What lies on the disk."""
        found: dict[Thing, Size] = {}
        assert self.world.storage.folder is not None
        for root in (self.world.root, self.world.storage.folder):
            for path in root.rglob("*"):
                if tier := TIER_OF.get(path.suffix):
                    (number,) = re.findall(r"-(\d+)$", path.stem)
                    thing = Thing(tier, path.relative_to(root).parts[0], int(number))
                    took = path.stat().st_blocks * 512
                    picture = took if path.suffix == ".keyframe" else 0
                    before = found.get(thing, Size(0, 0))
                    found[thing] = Size(before.files + 1, before.bytes + took, before.picture + picture)
        for thing, size in list(found.items()):
            if thing.tier == "records" and size.picture == size.bytes:
                found[thing._replace(tier="stills")] = found.pop(thing)
        return found

    def disk(self) -> Disk:
        there = self.there().values()
        used, files = sum(size.bytes for size in there), sum(size.files for size in there)
        return Disk(DISK_BYTES, DISK_BYTES - used - self.foreign, INODES, INODES - files - self.foreign_inodes)

    def now_us(self) -> int:
        """What ages are counted by: a clock that jumped ahead is believed for five minutes, one that is behind is."""
        return self.world.clock.now_us() + min(self.off_us, TOLERANCE_US)

    def expected(self, leased: set[tuple[str, int]]) -> Outcome:
        return Oracle(
            settings=self.settings,
            known=self.known.values(),
            there=self.there(),
            now_us=self.now_us(),
            holds=self.holds.values(),
            leased=leased,
            disk=self.disk(),
            lacking=self.lacking,
        ).outcome()

    def run_pass(self, crash: Step | int | None = None, leased: tuple[str, int] | None = None) -> None:
        """A pass, which deletes what the oracle says, by the same reasons, and nothing else."""
        anew = self.world.clock.monotonic() - self.opened_at > RETRY_SECONDS
        if not (self.looked_anew or anew):
            self.open()
        if anew:
            self.opened_at = self.world.clock.monotonic()
        before, expected = self.there(), self.expected({leased} if leased else set())
        reasons: dict[Thing, str] = {}
        with self.reading(leased), self.dying(crash):
            for each in self.running.retention.run_pass():
                reasons[Thing(each.item.tier.value, each.item.camera, each.item.number)] = each.reason.value
        if crash is not None:
            self.world.open()
            self.world.deleter.collect()
            self.open()
        after = self.there()
        gone = {thing for thing in before if thing not in after}
        for camera, number in self.known:
            buried = self.world.tombstones(camera).get(number)
            assert buried is None or reasons.setdefault(Thing("records", camera, number), buried) == buried
        for thing in sorted(gone):
            assert thing in expected.gone, f"{thing} went by {reasons.get(thing)} and should have stayed"
            assert reasons.get(thing, expected.gone[thing]) == expected.gone[thing], thing
        if crash is not None:
            return
        staying = sorted(thing for thing in expected.gone if thing in after)
        assert not staying, f"{staying} should have gone by {[expected.gone[thing] for thing in staying]}"
        assert self.running.retention.state.blocked == expected.blocked
        self.lacking, self.looked_anew = expected.lacking, leased is None and not self.lost_sight(gone)

    def lost_sight(self, gone: set[Thing]) -> bool:
        """Whether something went that made others worth keeping: they may go now, and need not before a day."""
        return any(self.known[thing[1:]].found for thing in gone if thing.tier == "records")

    @contextmanager
    def dying(self, crash: Step | int | None) -> Iterator[None]:
        """The process dies after a step, or instead of unlinking the n-th file."""
        unlinked, real = [0], os.unlink

        def unlink(path: Any, **kwargs: Any) -> None:
            unlinked[0] += Path(path).suffix in TIER_OF
            if unlinked[0] == crash:
                raise Crash
            real(path, **kwargs)

        def on_step(done: Step) -> None:
            if done is crash:
                raise Crash

        self.world.on_step = on_step
        with patch.object(os, "unlink", unlink), suppress(Crash):
            yield
        self.world.on_step = lambda done: None

    @contextmanager
    def reading(self, leased: tuple[str, int] | None) -> Iterator[None]:
        with ExitStack() as stack:
            if leased is not None:
                of = self.known[leased]
                stack.enter_context(self.running.leases.reading(of.camera, of.first_us, of.first_us + 1))
            yield

    def one(self, which: int) -> Known:
        return self.known[sorted(self.known)[which % len(self.known)]]

    # What happens.

    @rule(camera=CAMERAS, gap_us=GAPS_US)
    def seal(self, camera: str, gap_us: int) -> None:
        self.add(camera, gap_us)
        self.open()

    @rule(camera=CAMERAS, classes=FOUND, video=st.booleans(), later=st.booleans())
    def detect(self, camera: str, classes: dict[str, float], video: bool, later: bool) -> None:
        for number in self.world.numbers(camera):
            self.look_at(camera, number, classes, video)
        if later:
            self.world.clock.advance(RETRY_SECONDS + 1)
            self.run_pass()

    @rule(which=st.integers(0, 99), age_us=AGES, edge_us=EDGES_US, crash=CRASHES)
    def grow_old(self, which: int, age_us: int, edge_us: int, crash: Step | int | None) -> None:
        """A segment reaches an age to the microsecond, if it is not older yet; a pass follows."""
        ahead = self.one(which).kept_from_us + age_us + edge_us - self.world.clock.now_us()
        self.world.clock.advance(max(0, ahead) / 1e6)
        self.run_pass(crash)

    @rule(which=st.integers(0, 99), age_us=AGES)
    def read(self, which: int, age_us: int) -> None:
        """Somebody reads a segment while it is due."""
        of = self.one(which)
        ahead = of.kept_from_us + age_us + 1 - self.world.clock.now_us()
        self.world.clock.advance(max(0, ahead) / 1e6)
        self.run_pass(leased=(of.camera, of.number))

    @rule(
        which=st.integers(0, 99),
        after=st.booleans(),
        edge_us=EDGES_US,
        every=st.booleans(),
        within=st.booleans(),
        expires_us=st.sampled_from([0, 0, HOUR_US]),
    )
    def hold(self, which: int, after: bool, edge_us: int, every: bool, within: bool, expires_us: int) -> None:
        """A hold reaches a segment's first or last frame, or falls short by a microsecond; it may expire in an hour."""
        of = self.one(which)
        start, end = of.first_us - HOUR_US, of.first_us + edge_us
        if after:
            start, end = of.last_us + edge_us, of.last_us + HOUR_US
        cameras = () if every else (of.camera,)
        if expires_us:
            expires_us += self.world.clock.now_us()
        added = self.running.holds.add(
            Hold("", cameras, start, end, "anna", "theft", 1, expires_us=expires_us, within_max_age=within)
        )
        self.holds[added.id] = Held(cameras, start, end, expires_us, within)

    @rule(which=st.integers(0, 99), age_us=AGES, edge_us=EDGES_US)
    def outlast(self, which: int, age_us: int, edge_us: int) -> None:
        """A segment is held while it becomes due, and the hold expires an hour later."""
        of = self.one(which)
        due_us = max(of.kept_from_us + age_us, self.world.clock.now_us()) + 1
        held = Held((of.camera,), of.first_us, of.first_us + 1, due_us + HOUR_US, False)
        added = self.running.holds.add(Hold("", *held[:3], "anna", "theft", 1, expires_us=held.expires_us))
        self.holds[added.id] = held
        for until_us in (due_us, held.expires_us + edge_us):
            self.world.clock.advance((until_us - self.world.clock.now_us()) / 1e6)
            self.run_pass()

    @precondition(lambda self: self.holds)
    @rule()
    def release(self) -> None:
        name = next(iter(self.holds))
        self.running.holds.release(name, "anna", 2)
        del self.holds[name]
        self.run_pass()

    @rule(
        which=st.integers(0, 99),
        age_us=st.sampled_from([0, 2 * HOUR_US, 5 * HOUR_US]),
        edge_us=EDGES_US,
        videos=st.booleans(),
        blocks=st.integers(0, 20),
        edge=EDGES_US,
        crash=CRASHES,
    )
    def fill(
        self, which: int, age_us: int, edge_us: int, videos: bool, blocks: int, edge: int, crash: Step | int | None
    ) -> None:
        """Somebody fills the disk as a segment reaches an age: so many blocks more should be free than are, and as much
        as all videos take, or a byte less or more. Below a twentieth of the disk nothing is to be done unless it was
        before.
        """
        ahead = self.one(which).kept_from_us + age_us + edge_us - self.world.clock.now_us()
        self.world.clock.advance(max(0, ahead) / 1e6)
        self.foreign = self.foreign_inodes = 0
        lack = blocks * BLOCK + edge
        if videos:
            lack += sum(size.bytes for thing, size in self.there().items() if thing.tier in DERIVED)
        self.foreign = max(0, self.disk().free_bytes - DISK_BYTES * 9 // 20 + lack)
        self.run_pass(crash)

    @rule(files=st.integers(0, 40), crash=CRASHES)
    def fill_with_files(self, files: int, crash: Step | int | None) -> None:
        """Likewise with inodes, of which a hundredth is the distance."""
        self.foreign = self.foreign_inodes = 0
        self.foreign_inodes = max(0, self.disk().free_inodes - INODES * 11 // 100 + files)
        self.run_pass(crash)

    @rule(off_us=st.sampled_from([0, YEARS_US, -YEARS_US]))
    def jump(self, off_us: int) -> None:
        self.off_us = off_us
        self.run_pass()

    @rule()
    def restart(self) -> None:
        self.world.restart()
        self.open()

    # What holds always.

    @invariant()
    def what_is_counted_lies_there(self) -> None:
        if hasattr(self, "opened_at"):
            assert self.world.usage() == self.world.on_disk()

    @invariant()
    def every_segment_is_there_or_has_a_tombstone_and_none_is_both(self) -> None:
        if hasattr(self, "opened_at"):
            buried = {(camera, number) for camera in self.clock_offs for number in self.world.tombstones(camera)}
            readable = {(camera, number) for camera in self.clock_offs for number in self.world.numbers(camera)}
            lying = {thing[1:] for thing in self.there() if thing.tier == "records"}
            assert not buried & readable
            assert buried | readable == set(self.known)
            assert lying == readable

    @invariant()
    def what_was_persisted_stays_known(self) -> None:
        if hasattr(self, "opened_at"):
            for (camera, _), of in self.known.items():
                first = 1 + 10 * (of.number - 1)
                assert self.world.store.holds(camera, EPOCH, first)

    def teardown(self) -> None:
        if hasattr(self, "database"):
            close_stores(self.database)
            self.folder.cleanup()
