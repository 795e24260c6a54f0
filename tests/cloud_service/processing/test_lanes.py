"""Lanes: where a camera's readers stand, and when two of them become one."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine as Database

from cloud_service.processing.lanes import RETRY_SECONDS, Lane, Lanes
from cloud_service.store import RecordStore
from icm.service.clock import ManualClock
from icm.service.health import Problems
from tests.cloud_service.parts import header, open_store, raw, record


@pytest.fixture
def store(tmp_path: Path, database: Database) -> RecordStore:
    return open_store(tmp_path / "records", database)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lanes(store: RecordStore, database: Database, clock: ManualClock) -> Lanes:
    for camera in ("gate", "lobby", "yard"):
        of = header(camera)
        store.append(of, raw([record(sequence) for sequence in range(1, 6)], of))
    return Lanes(store=store, database=database, problems=Problems(), clock=clock)


def of_camera(lanes: Lanes, camera: str) -> list[Lane]:
    return [lane for lane in lanes.ready() if lane.id.camera == camera]


def pass_on(lanes: Lanes, lane: Lane) -> int:
    """Lets a lane read what it can; returns how many records that were."""
    chunk = lanes.read(lane, 100)
    if chunk is None:
        return 0
    lane.position = chunk.next
    return len(chunk.records)


def test_every_lane_is_first_in_its_turn(lanes: Lanes) -> None:
    first = [lanes.ready()[0].id.camera for _ in range(6)]
    assert sorted(first[:3]) == ["gate", "lobby", "yard"]
    assert first[:3] == first[3:]


def test_a_lane_that_is_busy_or_delayed_is_not_ready(lanes: Lanes, clock: ManualClock) -> None:
    (gate,), (yard,) = of_camera(lanes, "gate"), of_camera(lanes, "yard")
    gate.busy = True
    lanes.delay(yard, yard.records, "the disk does not answer")
    assert [lane.id.camera for lane in lanes.ready()] == ["lobby"]
    gate.busy = False
    clock.advance(RETRY_SECONDS)
    assert {lane.id.camera for lane in lanes.ready()} == {"gate", "lobby", "yard"}


def test_a_catch_up_lane_renders_up_to_the_live_one_which_then_goes_on(lanes: Lanes) -> None:
    (live,) = of_camera(lanes, "gate")
    assert pass_on(lanes, live) == 5
    behind = lanes.render_again("gate", 1)
    assert (live.renders, live.detects) == (False, True)
    assert (behind.renders, behind.detects) == (True, False)
    lanes.join("gate")
    assert len(of_camera(lanes, "gate")) == 2
    assert pass_on(lanes, behind) == 5
    lanes.join("gate")
    assert of_camera(lanes, "gate") == [live]
    assert live.renders


def test_lanes_do_not_join_while_the_engine_has_records_that_neither_of_them_renders(
    lanes: Lanes, store: RecordStore
) -> None:
    (live,) = of_camera(lanes, "gate")
    pass_on(lanes, live)
    behind = lanes.render_again("gate", 1)
    pass_on(lanes, behind)
    # The live lane's next records were handed to the engine while it did not render.
    store.append(header(), raw([record(6)], header()))
    live.busy = True
    lanes.join("gate")
    assert not live.renders
    live.busy = False
    pass_on(lanes, live)
    lanes.join("gate")
    assert not live.renders
    assert pass_on(lanes, behind) == 1
    lanes.join("gate")
    assert live.renders
