"""Whatever happens to an archive, in whatever order: nothing protected goes, nothing due stays, all adds up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cloud_service.database.opening import open_database
from cloud_service.holds.book import Hold
from cloud_service.retention.clock import Moment
from cloud_service.retention.execution import Step
from cloud_service.store import Segment
from tests.cloud_service.parts import EPOCH, close_stores
from tests.cloud_service.retention.test_loop import ROOMY, Running
from tests.cloud_service.retention.world import Crash, World

HOUR_US = 3600 * 1_000_000
YEARS_US = 3650 * 24 * HOUR_US
MAX_AGE, MIN_AGE, QUIET_AGE = 10 * HOUR_US, 2 * HOUR_US, 5 * HOUR_US
BEFORE_US, AFTER_US = 10_000_000, 20_000_000
"""What the rule of keep takes along around a detection."""
CAMERAS = st.sampled_from(["gate", "yard"])


class Machine(RuleBasedStateMachine):
    """A store, its loop, and a machine whose clock and disk do what they like."""

    @initialize(kind=st.sampled_from(["block", "delete_oldest"]), stills=st.booleans(), seen=st.booleans())
    def begin(self, kind: str, stills: bool, seen: bool) -> None:
        self.folder = TemporaryDirectory(prefix="icm-retention-")
        path = Path(self.folder.name)
        self.database = open_database(f"sqlite:///{path / 'cloud.db'}")
        self.world = World(path, self.database)
        self.off_us, self.resort, self.crashed = 0, kind, False
        self.sealed: dict[tuple[str, int], Segment] = {}
        self.told: dict[str, Any] = {
            "total": {"min_free_fraction": 0.1},
            "records": {"max_age_seconds": MAX_AGE / 1e6, "min_age_seconds": MIN_AGE / 1e6},
            "quiet": {"max_age_seconds": QUIET_AGE / 1e6, "then": "stills" if stills else "delete"},
            "keep": [{"classes": ["person"]}],
            "floor": {"last_resort": kind},
        }
        self.detected: set[tuple[str, int]] = set()
        self.found: set[tuple[str, int]] = set()
        self.running = Running(self.world)
        self.open()
        for camera in ("gate", "yard", "gate"):
            self.seal(camera, 1)
        self.detect("gate", seen, True)
        self.detect("yard", not seen, False)

    def open(self) -> None:
        self.running.open(**self.told)
        self.running.retention.apply()
        self.looks_anew = True
        real = self.world.clock
        self.running.retention._time._moment = lambda: Moment(real.now_us() + self.off_us, "boot", real.now_us())

    def there(self) -> set[tuple[str, int]]:
        return {(camera, number) for camera in ("gate", "yard") for number in self.world.numbers(camera)}

    def held(self, of: Segment) -> bool:
        active = self.running.holds.active(None)
        return any(hold.covers(of.camera, of.first_capture_us, of.last_capture_us) for hold in active)

    def worth_keeping(self, of: Segment) -> bool:
        """Whether a person was seen in a segment, or so soon before or after it that keep takes it along."""
        return any(
            camera == of.camera
            and self.sealed[camera, number].last_capture_us >= of.first_capture_us - AFTER_US
            and self.sealed[camera, number].first_capture_us <= of.last_capture_us + BEFORE_US
            for camera, number in self.found
        )

    def looked_through(self, of: Segment) -> bool:
        """Whether the detector went through a segment and all that follows it so soon."""
        return all(
            key in self.detected
            for key, each in self.sealed.items()
            if each.camera == of.camera
            and each.number >= of.number
            and each.first_capture_us <= of.last_capture_us + BEFORE_US
        )

    @contextmanager
    def watched(self) -> Iterator[None]:
        """What goes in the block went by the rules."""
        before, held = self.there(), {key for key in self.sealed if self.held(self.sealed[key])}
        now, pressed = self.world.clock.now_us(), self.running.space != ROOMY
        yield
        for key in before - self.there():
            assert key not in held
            young = now - self.sealed[key].kept_from_us < MIN_AGE
            assert not young or (pressed and self.resort == "delete_oldest")
            if self.world.tombstones(key[0]).get(key[1]) == "quiet":
                assert now - self.sealed[key].kept_from_us > QUIET_AGE
                assert self.looked_through(self.sealed[key])
                assert not self.worth_keeping(self.sealed[key])

    @rule(camera=CAMERAS, hours=st.sampled_from([0, 1, 6]))
    def seal(self, camera: str, hours: int) -> None:
        self.world.seal(camera)
        number = self.world.numbers(camera)[-1]
        self.sealed[camera, number] = self.world.segment(number, camera)
        self.world.clock.advance(hours * 3600)
        self.open()

    @rule(camera=CAMERAS, found=st.booleans(), video=st.booleans())
    def detect(self, camera: str, found: bool, video: bool) -> None:
        for number in self.world.numbers(camera):
            if (camera, number) not in self.detected:
                self.world.detect(number, camera, *([("person", 0.9)] if found else []))
                self.world.add_keyframe(number, camera)
                self.detected.add((camera, number))
                self.looks_anew = False
                if found:
                    self.found.add((camera, number))
                if video:
                    self.world.add_video(number, camera)

    @rule(hours=st.sampled_from([1, 5, 11]))
    def wait(self, hours: int) -> None:
        """A pass follows, as one does every minute: a rule of its own would run it too seldom to delete anything."""
        self.world.clock.advance(hours * 3600)
        self.run_pass()

    @rule(off_us=st.sampled_from([0, YEARS_US, -YEARS_US]))
    def jump(self, off_us: int) -> None:
        self.off_us = off_us
        self.run_pass()

    @precondition(lambda self: self.sealed)
    @rule(which=st.integers(0, 99), hours=st.integers(0, 5), every=st.booleans())
    def hold(self, which: int, hours: int, every: bool) -> None:
        """Of a time that there is something of: one elsewhere says nothing."""
        of = self.sealed[sorted(self.sealed)[which % len(self.sealed)]]
        start = of.first_capture_us - hours * HOUR_US
        cameras = () if every else (of.camera,)
        self.running.holds.add(Hold("", cameras, start, of.last_capture_us, "anna", "theft", 1))

    @rule()
    def release(self) -> None:
        for hold in self.running.holds.active(None)[:1]:
            self.running.holds.release(hold.id, "anna", 2)

    @rule(free=st.sampled_from([0.9, 0.02]))
    def disk(self, free: float) -> None:
        """Somebody fills the disk, or tidies it up."""
        self.running.space = replace_free(free)
        self.run_pass()

    def run_pass(self) -> None:
        with self.watched():
            self.running.retention.run_pass()
        reading = self.running.retention.state.clock
        if reading.trusted and self.off_us == 0:
            now = self.world.clock.now_us()
            for camera, number in self.there():
                of = self.world.segment(number, camera)
                age = now - of.kept_from_us
                assert age <= MAX_AGE or self.held(of)
                if self.looks_anew and age > QUIET_AGE and self.looked_through(of) and not self.worth_keeping(of):
                    assert self.held(of)

    @rule(step=st.sampled_from(list(Step)), hours=st.sampled_from([5, 11]))
    def crash(self, step: Step, hours: int) -> None:
        self.world.clock.advance(hours * 3600)

        def die(done: Step) -> None:
            if done is step:
                raise Crash

        with self.watched():
            self.world.on_step = die
            with suppress(Crash):
                self.running.retention.run_pass()
            self.world.on_step = lambda done: None
            self.world.open()
        self.world.deleter.collect()
        self.open()

    @rule()
    def restart(self) -> None:
        self.world.restart()
        self.open()

    @invariant()
    def what_is_counted_lies_there(self) -> None:
        if hasattr(self, "world"):
            assert self.world.usage() == self.world.on_disk()

    @invariant()
    def every_segment_is_there_or_has_a_tombstone_and_none_is_both(self) -> None:
        if hasattr(self, "world"):
            buried = {(camera, number) for camera in ("gate", "yard") for number in self.world.tombstones(camera)}
            there = self.there()
            assert not buried & there
            assert buried | there == set(self.sealed)

    @invariant()
    def what_was_persisted_stays_known(self) -> None:
        if hasattr(self, "world"):
            for of in self.sealed.values():
                assert self.world.store.holds(of.camera, EPOCH, of.sequences.first)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            close_stores(self.database)
            self.folder.cleanup()


def replace_free(part: float) -> Any:
    return ROOMY._replace(free_bytes=round(ROOMY.bytes * part))


def test_whatever_happens_nothing_protected_goes_nothing_due_stays_and_all_adds_up() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=20, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
