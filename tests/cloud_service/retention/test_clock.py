"""The time that ages are counted by, whatever the machine's clock does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_service.feedback.edge_clocks import FRESH_SECONDS, EdgeClocks
from cloud_service.retention.clock import FILE_NAME, TOLERANCE_US, Moment, TrustedClock, machine_moment
from icm.errors import StorageError
from icm.service.clock import ManualClock

SECOND = 1_000_000
HOUR, DAY = 3600 * SECOND, 86_400 * SECOND
YEARS = 3652 * DAY
START = 20_000 * DAY


@dataclass
class Machine:
    """A machine whose clock is off by so much, and which was started so often.

    Attributes:
        real_us: the real time.
    """

    real_us: int = START
    off_us: int = 0
    boots: int = 1
    booted_us: int = START - DAY
    edges: float | None = None

    def __call__(self) -> Moment:
        return Moment(self.real_us + self.off_us, f"boot {self.boots}", self.real_us - self.booted_us)

    def restart(self, off_for_us: int) -> None:
        self.real_us += off_for_us
        self.boots, self.booted_us = self.boots + 1, self.real_us - 30 * SECOND

    def clock(self, folder: Path, newest_us: int = 0) -> TrustedClock:
        return TrustedClock(folder, newest_us, lambda: self.edges, self)


def test_a_clock_that_stays_on_its_line_is_believed(tmp_path: Path) -> None:
    machine = Machine()
    clock = machine.clock(tmp_path)
    for _ in range(5):
        machine.real_us += 30 * DAY
        assert clock.read().now_us == machine.real_us
        assert clock.read().trusted


@pytest.mark.parametrize("jump", [YEARS, DAY, 10 * 60 * SECOND])
def test_a_clock_that_jumps_ahead_ages_nothing_and_one_that_comes_back_is_believed_again(
    tmp_path: Path, jump: int
) -> None:
    machine = Machine()
    clock = machine.clock(tmp_path)
    clock.read()
    machine.real_us, machine.off_us = machine.real_us + HOUR, jump
    ahead = clock.read()
    assert ahead.now_us == machine.real_us + TOLERANCE_US
    assert not ahead.trusted
    assert "ahead" in ahead.why
    machine.off_us = 0
    assert clock.read().trusted


def test_a_clock_that_jumps_back_only_makes_all_look_younger(tmp_path: Path) -> None:
    machine = Machine()
    clock = machine.clock(tmp_path)
    clock.read()
    machine.off_us = -YEARS
    assert clock.read().now_us == machine.real_us - YEARS
    machine.off_us = 0
    assert clock.read().now_us == machine.real_us


def test_a_restart_of_the_service_goes_on_with_the_line_however_long_it_was_down(tmp_path: Path) -> None:
    machine = Machine()
    machine.clock(tmp_path).read()
    machine.real_us += 40 * DAY
    assert machine.clock(tmp_path).read().now_us == machine.real_us
    machine.off_us = YEARS
    assert machine.clock(tmp_path).read().now_us == machine.real_us + TOLERANCE_US


def test_a_machine_that_was_off_for_hours_is_believed_and_for_days_only_with_witnesses(tmp_path: Path) -> None:
    machine = Machine()
    machine.clock(tmp_path).read()
    machine.restart(20 * HOUR)
    assert machine.clock(tmp_path).read().now_us == machine.real_us
    machine.restart(3 * DAY)
    clock = machine.clock(tmp_path)
    alone = clock.read()
    assert alone.now_us is None
    assert "3.0 days ahead of when it was last trusted" in alone.why
    machine.edges = 12.0
    assert clock.read().now_us == machine.real_us
    machine.edges = None
    assert clock.read().trusted


def test_edges_that_say_that_the_clock_is_ahead_stop_all_ages_even_at_the_first_start(tmp_path: Path) -> None:
    machine = Machine(off_us=YEARS, edges=YEARS / SECOND)
    clock = machine.clock(tmp_path)
    assert clock.read().now_us is None
    assert "10.0 years ahead of the edges' clocks" in clock.read().why
    machine.off_us, machine.edges = 0, 0.0
    assert clock.read().now_us == machine.real_us
    machine.off_us, machine.edges = YEARS, None
    assert clock.read().now_us == machine.real_us + TOLERANCE_US


def test_a_person_can_say_that_the_clock_is_right(tmp_path: Path) -> None:
    machine = Machine()
    machine.clock(tmp_path).read()
    machine.restart(30 * DAY)
    clock = machine.clock(tmp_path)
    assert clock.read().now_us is None
    clock.trust()
    assert clock.read().now_us == machine.real_us
    assert machine.clock(tmp_path).read().now_us == machine.real_us


def test_a_clock_that_starts_at_1970_and_is_set_later_is_believed_once_it_was(tmp_path: Path) -> None:
    machine = Machine()
    machine.clock(tmp_path).read()
    machine.restart(2 * HOUR)
    machine.off_us = -machine.real_us
    clock = machine.clock(tmp_path)
    assert clock.read() == clock.read()
    assert clock.read().now_us == 0
    machine.off_us = 0
    assert clock.read().trusted


def test_a_store_without_a_file_goes_by_its_newest_segment(tmp_path: Path) -> None:
    machine = Machine(off_us=YEARS)
    assert machine.clock(tmp_path, newest_us=START - HOUR).read().now_us is None
    machine.off_us = 0
    assert machine.clock(tmp_path, newest_us=START - HOUR).read().now_us == START


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("{")
    with pytest.raises(StorageError, match=r"clock\.json is damaged"):
        Machine().clock(tmp_path)


def test_the_machines_own_counter_goes_on() -> None:
    first, second = machine_moment(), machine_moment()
    assert first.boot == second.boot
    assert second.since_us >= first.since_us > 0


def test_two_edges_on_other_machines_are_witnesses_for_an_hour() -> None:
    time = ManualClock()
    edges = EdgeClocks(time)
    for peer, skew in (("ipv4:127.0.0.1:1", 0.0), ("ipv6:[::1]:2", 0.0), ("unix:", 0.0), ("ipv4:10.0.0.1:3", 4.0)):
        edges.note(peer, skew)
    edges.note("ipv4:10.0.0.1:4", 6.0)
    assert edges.skew_seconds() is None
    edges.note("ipv4:10.0.0.2:3", 2.0)
    assert edges.skew_seconds() == 4.0
    time.advance(FRESH_SECONDS + 1)
    assert edges.skew_seconds() is None


STEPS = st.lists(
    st.tuples(st.sampled_from(["pass", "jump", "restart", "service"]), st.integers(0, 30 * DAY), st.booleans()),
    max_size=12,
)


@given(STEPS)
@settings(max_examples=40, deadline=None)
def test_whatever_happens_no_age_is_counted_by_a_time_that_is_not_there_yet(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, bool]]
) -> None:
    """But by less than what a machine may have been off, or a clock may be fast."""
    folder = tmp_path_factory.mktemp("clock")
    machine, slack = Machine(), TOLERANCE_US
    clock = machine.clock(folder)
    for step, span, ahead in steps:
        now = clock.read().now_us
        assert now is None or now <= machine.real_us + slack
        if step == "pass":
            machine.real_us += span
        elif step == "jump":
            machine.off_us = YEARS if ahead else -YEARS if span % 2 else 0
        elif step == "restart":
            machine.restart(span)
            clock, slack = machine.clock(folder), slack + DAY
        else:
            clock = machine.clock(folder)
