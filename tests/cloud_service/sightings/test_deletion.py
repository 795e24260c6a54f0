"""What goes with a deleted segment, and what detectors were sure of in a stretch of time."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from cloud_service.database.sightings_tables import ActivityRow, BoxesRow, SightingRow
from cloud_service.database.statements import transaction
from cloud_service.events.store import EventStore, FrameSkipped
from cloud_service.sightings.deletion import delete_events
from cloud_service.sightings.folding import fold_events, fold_segment
from cloud_service.sightings.scores import best_scores
from cloud_service.store import Segment
from tests.cloud_service.sightings.scenes import (
    FRAME_US,
    FRAMES,
    SEGMENT_US,
    SIZE,
    START_US,
    TABLES,
    box,
    committed,
    events_of,
    everything,
    fold,
    frame_event,
    keys,
    rows,
    segment,
    walk,
)


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def delete(database: Engine, *segments: Segment) -> None:
    for each in segments:
        with transaction(database) as connection:
            delete_events(connection, each)


def test_a_deleted_segments_events_are_gone_and_all_others_are_there(database: Engine) -> None:
    store = committed(database, walk(1, 4 * FRAMES))
    store.commit((), [FrameSkipped(frame_event(5 * FRAMES).key, "damaged")], {})
    fold(database, segment(1), segment(2), segment(3))
    delete(database, segment(2), segment(5))
    left = walk(1, FRAMES) + walk(2 * FRAMES + 1, 4 * FRAMES)
    assert keys(store.search(limit=1000)) == keys(left[::-1])
    assert store.get(frame_event(FRAMES + 1).key) is None
    assert store.get(frame_event(FRAMES + 10).key) is None
    assert store.get(frame_event(5 * FRAMES).key) is None


def test_activity_is_that_of_the_segments_that_are_left(database: Engine) -> None:
    committed(database, walk(1, 3 * FRAMES))
    fold(database, *(segment(number) for number in (1, 2, 3)))
    delete(database, segment(3), segment(1))
    counted = rows(database, ActivityRow, "camera", "seconds", "start_us", "class_name", "frames", "boxes")
    committed(database, walk(FRAMES + 1, 2 * FRAMES, "yard"))
    fold(database, segment(2, "yard"))
    alone = rows(database, ActivityRow, "camera", "seconds", "start_us", "class_name", "frames", "boxes")
    assert [row[1:] for row in counted] == [row[1:] for row in alone if row[0] == "yard"]


def test_a_sighting_goes_with_the_last_segment_that_holds_some_of_it(database: Engine) -> None:
    committed(database, [frame_event(sequence, box(100)) for sequence in range(1, 3 * FRAMES + 1)])
    fold(database, *(segment(number) for number in (1, 2, 3)))
    for number in (2, 1):
        delete(database, segment(number))
        assert rows(database, SightingRow, "start_us", "frames") == [(START_US, 3 * FRAMES)]
    delete(database, segment(3))
    assert rows(database, SightingRow) == []


def test_another_models_events_go_with_the_segment_too(database: Engine) -> None:
    committed(database, walk(1, FRAMES))
    fold(database, segment(1))
    with transaction(database) as connection:
        fold_events(connection, segment(1), SIZE, events_of(segment(1), "large"))
    assert len(rows(database, BoxesRow)) == 2
    delete(database, segment(1))
    assert not any(everything(database).values())


def test_a_segment_that_is_deleted_before_it_was_folded_is_folded_to_nothing(database: Engine) -> None:
    committed(database, walk(1, 3 * FRAMES))
    fold(database, segment(1), segment(2))
    delete(database, segment(3), segment(1))
    before = everything(database)
    with transaction(database) as connection:
        fold_segment(connection, segment(3), None, gone=True)
    assert everything(database) == before
    delete(database, segment(2))
    assert not any(everything(database).values())


def test_in_whatever_order_segments_go_nothing_of_them_stays(database: Engine) -> None:
    cameras = count(1)

    @given(st.permutations(range(1, 6)), st.integers(0, 5), st.integers(0, 5))
    @settings(max_examples=12, deadline=None)
    def holds(order: list[int], folded: int, again: int) -> None:
        camera = f"camera-{next(cameras)}"
        committed(database, walk(1, 5 * FRAMES, camera))
        fold(database, *(segment(number, camera) for number in range(1, folded + 1)))
        for number in range(1, min(folded, again) + 1):
            of = segment(number, camera)
            with transaction(database) as connection:
                fold_events(connection, of, SIZE, events_of(of, "large"))
        delete(database, *(segment(number, camera) for number in order))
        assert {table.__tablename__: rows(database, table) for table in TABLES if rows(database, table)} == {}

    holds()


def test_the_best_score_of_a_class_is_that_of_the_frames_of_the_time_alone(database: Engine) -> None:
    """Packed and not yet packed, of any model, at any ends."""
    events = walk(1, 4 * FRAMES)
    store = committed(database, events, walk(1, 4 * FRAMES, "yard"))
    fold(database, segment(1), segment(2), segment(3))
    store.commit([frame_event(3, box(0, "dog", 0.25), model="large")], (), {})
    everywhere = [*events, frame_event(3, box(0, "dog", 0.25), model="large")]

    @given(st.integers(-3, 4 * FRAMES + 3), st.integers(0, 4 * FRAMES + 3))
    @settings(max_examples=60, deadline=None)
    def holds(first: int, length: int) -> None:
        from_us = START_US + first * FRAME_US - FRAME_US // 2
        to_us = from_us + length * FRAME_US
        expected: dict[str, float] = {}
        for of in everywhere:
            if from_us <= of.capture_us < to_us:
                for found in of.detections:
                    expected[found.class_name] = max(expected.get(found.class_name, 0.0), found.score)
        with database.connect() as connection:
            found_now = best_scores(connection, "gate", from_us, to_us)
        assert found_now == pytest.approx(expected, abs=1e-5)

    holds()
    with database.connect() as connection:
        assert best_scores(connection, "nowhere", START_US, START_US + SEGMENT_US) == {}
    assert isinstance(store, EventStore)
