"""What a full spool does under ``keep_detections``: frames with recent detections stay while others are there to go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_service.spool.camera_spool import CameraSpool
from edge_service.spool.store import Spool
from icm.codec.bitstream.record import RECORD_OVERHEAD, is_intra
from icm.errors import ReferenceMissingError
from icm.service.clock import ManualClock
from tests.edge_service.parts import spool_p_records, spool_records

SIZE = RECORD_OVERHEAD + 5
"""Of a record as ``spool_records`` makes it."""
RECENT_SECONDS = 10.0
CAMERAS = ("gate", "yard")


class Edge:
    """A spool under ``keep_detections``, with room for a number of records, and what it let go."""

    def __init__(self, folder: Path, records: int, max_age_seconds: float = 1e6) -> None:
        self._folder, self._records, self._max_age = folder, records, max_age_seconds
        self.clock, self.lost, self.persisted = ManualClock(), Counter[tuple[str, str]](), dict.fromkeys(CAMERAS, 0)
        self.delivered = Counter[str]()
        self.open()

    def open(self) -> None:
        """Starts the edge, or starts it anew."""
        self.spool = Spool(
            self._folder, self._records * SIZE, self._max_age, self.clock, "keep_detections",
            lambda camera, reason, count: self.lost.update({(camera, reason): count}), RECENT_SECONDS,
        )  # fmt: skip

    def restart(self) -> None:
        self.spool.close()
        self.open()

    def film(self, camera: str, records: int, seconds: float = 1.0) -> None:
        """So many records that stand alone, each after so many seconds."""
        for _ in range(records):
            self.clock.advance(seconds)
            spool_records(self.spool.camera(camera), 1)

    def deliver(self, camera: str, records: int) -> None:
        """The cloud persists a camera's first records."""
        for sequence in self.waiting(camera)[:records]:
            self.persisted[camera] = sequence
            self.delivered[camera] += 1
        self.spool.camera(camera).persisted(1, self.persisted[camera])

    def see(self, camera: str) -> None:
        """A frame in which the cloud finds something."""
        self.film(camera, 1)
        self.deliver(camera, 1)
        self.spool.camera(camera).detected(self.persisted[camera])

    def packed(self, camera: str) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        while batch := self.spool.camera(camera).read(found[-1][0] if found else 0, 100, 1 << 20):
            found += batch.records
        return found

    def waiting(self, camera: str) -> list[int]:
        return [sequence for sequence, _ in self.packed(camera)]


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    edge = Edge(tmp_path, 6)
    yield edge
    edge.spool.close()


def test_frames_of_a_camera_where_nothing_was_found_go_first_though_they_are_newer(edge: Edge) -> None:
    edge.see("gate")
    edge.film("gate", 3)
    edge.film("yard", 6)
    assert (edge.waiting("gate"), edge.waiting("yard")) == ([2, 3, 4], [4, 5, 6])
    assert edge.lost == {("yard", "spool_no_detections"): 3}


def test_frames_long_after_the_last_detection_go_before_those_soon_after_it(edge: Edge) -> None:
    edge.see("gate")
    edge.film("gate", 9, seconds=RECENT_SECONDS / 3)
    assert edge.waiting("gate") == [2, 3, 4, 8, 9, 10]
    assert edge.lost == {("gate", "spool_no_detections"): 3}


def test_frames_with_recent_detections_go_when_nothing_else_is_left_oldest_first(edge: Edge) -> None:
    edge.see("gate")
    edge.film("yard", 2)
    edge.film("gate", 7)
    assert (edge.waiting("gate"), edge.waiting("yard")) == ([3, 4, 5, 6, 7, 8], [])
    assert edge.lost == {("yard", "spool_no_detections"): 2, ("gate", "spool_full"): 1}


def test_a_detection_in_a_later_frame_keeps_what_follows_that_one(edge: Edge) -> None:
    edge.see("gate")
    edge.clock.advance(10 * RECENT_SECONDS)
    edge.film("yard", 3)
    edge.see("gate")
    edge.film("gate", 6)
    assert (edge.waiting("gate"), edge.waiting("yard")) == ([3, 4, 5, 6, 7, 8], [])


def test_what_was_found_is_known_after_a_restart(edge: Edge) -> None:
    edge.see("gate")
    edge.film("gate", 3)
    edge.restart()
    edge.film("yard", 6)
    assert edge.waiting("gate") == [2, 3, 4]


def test_news_of_a_frame_from_before_the_restart_is_of_no_use_and_costs_nothing(edge: Edge) -> None:
    edge.film("gate", 1)
    edge.deliver("gate", 1)
    edge.restart()
    edge.spool.camera("gate").detected(1)
    assert edge.spool.camera("gate").last_detection_us() == 0


def test_without_any_detections_the_oldest_of_all_cameras_go_first(edge: Edge) -> None:
    for camera in ("yard", "gate", "gate", "yard", "gate", "gate", "yard"):
        edge.film(camera, 1)
    assert (edge.waiting("gate"), edge.waiting("yard")) == ([1, 2, 3, 4], [2, 3])


def test_a_record_that_waited_too_long_goes_whatever_was_found(tmp_path: Path) -> None:
    edge = Edge(tmp_path, 6, max_age_seconds=100.0)
    edge.see("gate")
    edge.film("gate", 1)
    edge.film("yard", 1, seconds=101)
    assert (edge.waiting("gate"), edge.waiting("yard")) == ([], [1])
    assert edge.lost == {("gate", "spool_aged"): 1}
    edge.spool.close()


def test_what_stays_after_those_that_went_stands_alone(edge: Edge) -> None:
    edge.see("gate")
    gate = edge.spool.camera("gate")
    spool_p_records(gate, 2)
    edge.clock.advance(2 * RECENT_SECONDS)
    spool_p_records(gate, 2, intra_copies=(5,))
    edge.film("yard", 2)
    # Record 4 is the oldest without recent detections, and 5 leaned on it.
    assert edge.waiting("gate") == [2, 3, 5]
    assert [is_intra(record) for _, record in edge.packed("gate")] == [False, False, True]
    assert edge.lost == {("gate", "spool_no_detections"): 1}


_STEP = st.one_of(
    st.tuples(st.just("i"), st.sampled_from(CAMERAS)),
    st.tuples(st.just("p"), st.sampled_from(CAMERAS)),
    st.tuples(st.just("p with an intra copy"), st.sampled_from(CAMERAS)),
    st.tuples(st.just("deliver"), st.sampled_from(CAMERAS)),
    st.tuples(st.just("detect"), st.sampled_from(CAMERAS)),
    st.tuples(st.just("wait"), st.just("gate")),
    st.tuples(st.just("restart"), st.just("gate")),
)


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(_STEP, min_size=10, max_size=30))
@example(
    # What goes for the P record is older than what went before and it refers to.
    steps=[("i", "gate")] * 6
    + [(step, "gate") for step in ("deliver", "i", "wait", "detect", "restart", "p with an intra copy")]
)
def test_whatever_happens_what_waits_can_be_decoded_is_counted_and_went_in_the_right_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]
) -> None:
    edge, times = Edge(tmp_path_factory.mktemp("spool"), 6), dict[tuple[str, int], int]()
    for step, camera in steps:
        spool = edge.spool.camera(camera)
        if step == "wait":
            edge.clock.advance(RECENT_SECONDS / 2)
        elif step == "restart":
            edge.restart()
            for name in CAMERAS:
                # An encoder that starts begins with an I record, and the news of what is under way is lost.
                _append(edge, edge.spool.camera(name), "i", times)
        elif step == "deliver":
            edge.deliver(camera, 2)
        elif step == "detect" and edge.persisted[camera]:
            spool.detected(edge.persisted[camera])
        elif step.startswith(("i", "p")):
            _append(edge, spool, step, times)
    assert edge.spool.bytes <= 6 * SIZE
    for camera in CAMERAS:
        packed = edge.packed(camera)
        there = {sequence for sequence, _ in packed} | {edge.persisted[camera]}
        assert all(is_intra(record) or sequence - 1 in there for sequence, record in packed)
        lost = sum(count for (name, _), count in edge.lost.items() if name == camera)
        assert len(packed) + lost + edge.delivered[camera] == sum(name == camera for name, _ in times)
    edge.spool.close()


def _append(edge: Edge, spool: CameraSpool, step: str, times: dict[tuple[str, int], int]) -> None:
    """Appends a record as an encoding stage would. What has recent detections must not go while others wait.

    Args: times, when each record was spooled.
    """
    edge.clock.advance(1)
    sequence, before = spool.next_sequence, edge.lost.copy()
    try:
        if step == "i" or sequence == 1:
            spool_records(spool, 1)
        else:
            spool_p_records(spool, 1, intra_copies=(sequence,) if step != "p" else ())
    except ReferenceMissingError:
        spool_records(spool, 1)
    if any(edge.lost[camera, "spool_full"] > before[camera, "spool_full"] for camera in CAMERAS):
        for camera in CAMERAS:
            recent_until_us = edge.spool.camera(camera).last_detection_us() + RECENT_SECONDS * 1e6
            older = [s for s in edge.waiting(camera) if (camera, s) in times]
            assert all(times[camera, s] <= recent_until_us for s in older)
    times[spool.name, sequence] = edge.clock.now_us()
