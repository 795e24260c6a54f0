"""Frames without detections are kept as ranges, and are read like all others."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from cloud_service.detection import Detection
from cloud_service.events.empty_frames import FRAMES
from cloud_service.events.store import EventStore, FrameEvent, FrameSkipped
from icm.frame_id import FrameId
from tests.cloud_service.events.test_store import event


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def events(database: Engine) -> EventStore:
    return EventStore(database)


def rows(database: Engine, table: str) -> int:
    with database.connect() as connection:
        return int(connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


def test_frames_in_which_nothing_is_found_share_a_row(events: EventStore, database: Engine) -> None:
    for first in range(1, 1001, 4):
        events.commit([event(n) for n in range(first, first + 4)], (), {})
    assert rows(database, "frames") == 0
    assert rows(database, "empty_frames") == 1000 // FRAMES + 1
    assert all(events.get(event(n).key) == event(n) for n in (1, 2, FRAMES - 1, FRAMES, FRAMES + 1, 1000))
    assert events.get(event(1001).key) is None


def test_frames_between_those_with_detections_come_back_with_their_own_times(
    events: EventStore, database: Engine
) -> None:
    mixed = [event(n, *(["dog"] if n % 3 == 0 else [])) for n in range(1, 31)]
    uneven = [FrameEvent(of.key, of.capture_us + of.key.sequence**2, of.model, of.detections) for of in mixed]
    events.commit(uneven, (), {})
    assert [events.get(of.key) for of in uneven] == uneven
    assert events.search(limit=100) == uneven[::-1]
    assert rows(database, "frames") == 10


def test_what_was_seen_or_skipped_before_is_not_unknown(events: EventStore) -> None:
    events.commit([event(n) for n in range(250, 260)], [FrameSkipped(event(262).key, "damaged")], {})
    assert [key.sequence for key in events.unknown("gate", 7, [(248, 263), (300, 300)])] == [
        248, 249, 260, 261, 263, 300,
    ]  # fmt: skip


def test_a_model_that_finds_nothing_where_another_did_is_the_newest_all_the_same(events: EventStore) -> None:
    events.commit([event(1, "person"), event(2)], (), {})
    events.commit([event(1, model="large"), event(2, model="large")], (), {})
    assert events.get(event(1).key) == event(1, model="large")
    assert events.get(event(2).key) == event(2, model="large")
    events.commit([event(2, "person", model="third")], (), {})
    assert events.get(event(2).key) == event(2, "person", model="third")
    assert len(events.search()) == 5


def test_events_are_those_of_a_store_with_a_row_for_each_whatever_comes(events: EventStore) -> None:
    """Any frames in any order, again and by several models, each time of a camera of its own."""
    cameras = count(1)
    seen = st.tuples(st.integers(1, 3 * FRAMES), st.sampled_from(["tiny", "large"]), st.booleans())

    @given(st.lists(st.lists(seen, max_size=6), max_size=6))
    @settings(max_examples=40, deadline=None)
    def same(batches: list[list[tuple[int, str, bool]]]) -> None:
        camera = f"camera-{next(cameras)}"
        kept: dict[tuple[FrameId, str], FrameEvent] = {}
        for batch in batches:
            made = [
                FrameEvent(
                    FrameId(camera, 7, sequence),
                    sequence * 1000 + (model == "large"),
                    model,
                    (Detection("dog", 0.5, 1.0, 2.0, 3.0, 4.0),) if found else (),
                )
                for sequence, model, found in batch
            ]
            events.commit(made, (), {})
            for of in made:
                kept.setdefault((of.key, of.model), of)
        newest = {of.key: of for of in kept.values()}
        assert {key: events.get(key) for key in newest} == newest
        assert events.search(camera, limit=1000) == sorted(kept.values(), key=lambda of: -of.capture_us)
        middle = FRAMES * 1000
        within = [of for of in events.search(camera, from_us=middle, limit=3)]
        assert (
            within == sorted((of for of in kept.values() if of.capture_us >= middle), key=lambda of: -of.capture_us)[:3]
        )

    same()
