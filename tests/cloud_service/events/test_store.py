"""Events: kept once, found again, and handed on as they are made."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Engine

from cloud_service.detection import Detection
from cloud_service.events.feed import WATCHER_LIMIT, EventFeed
from cloud_service.events.store import EventStore, FrameEvent
from cloud_service.store import Position
from cloud_service.store.cursors import load_cursors
from icm.errors import BusyError
from icm.frame_id import FrameId


def event(sequence: int, *classes: str, camera: str = "gate", model: str = "tiny", epoch: int = 7) -> FrameEvent:
    found = tuple(Detection(name, 0.5, 1.0, 2.0, 3.0, 4.0) for name in classes)
    return FrameEvent(FrameId(camera, epoch, sequence), sequence * 1000, model, found)


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def events(database: Engine) -> EventStore:
    return EventStore(database)


def test_an_event_comes_back_as_it_was(events: EventStore) -> None:
    original = event(1, "person", "dog", epoch=(1 << 63) - 1)
    events.commit([original], (), {})
    assert events.get(original.key) == original


def test_a_frame_without_objects_is_an_event_and_an_unseen_frame_is_none(events: EventStore) -> None:
    events.commit([event(1)], (), {})
    assert events.get(event(1).key) == event(1)
    assert events.get(event(2).key) is None


def test_a_frame_seen_twice_by_a_model_keeps_its_first_event(events: EventStore) -> None:
    events.commit([event(1, "person")], (), {})
    events.commit([event(1, "dog"), event(1, "cat")], (), {})
    assert events.search() == [event(1, "person")]


def test_another_model_gives_a_frame_another_event_and_the_newest_is_shown(events: EventStore) -> None:
    events.commit([event(1, "person")], (), {})
    events.commit([event(1, "dog", model="large")], (), {})
    assert events.get(event(1).key) == event(1, "dog", model="large")
    assert len(events.search()) == 2


def test_events_and_cursor_move_together(events: EventStore, database: Engine) -> None:
    assert load_cursors(database, "gate").detect == Position(0, 0)
    events.commit([event(1)], (), {"gate": Position(3, 500), "yard": Position(1, 80)})
    assert load_cursors(database, "gate").detect == Position(3, 500)
    assert load_cursors(database, "yard").detect == Position(1, 80)
    assert load_cursors(database, "gate").archive == 0


def test_events_are_searched_by_camera_class_and_time_newest_first(events: EventStore) -> None:
    one, two, three = event(1, "person"), event(2, "dog", "person"), event(3, "dog", camera="yard")
    events.commit([one, two, three], (), {})
    assert events.search() == [three, two, one]
    assert events.search(camera="gate") == [two, one]
    assert events.search(class_name="dog") == [three, two]
    assert events.search(camera="gate", class_name="dog") == [two]
    assert events.search(from_us=2000, to_us=3000) == [two]
    assert events.search(limit=1) == [three]


async def test_a_watcher_gets_what_it_wants_from_its_call_on() -> None:
    feed = EventFeed()
    feed.publish([event(1)])
    with feed.subscribe(lambda found: found.key.camera == "gate") as subscription:
        await asyncio.to_thread(feed.publish, [event(2), event(3, camera="yard"), event(4)])
        assert await subscription.next() == event(2)
        assert await subscription.next() == event(4)


async def test_a_watcher_that_lags_gets_what_was_kept_for_it_and_is_then_given_up() -> None:
    feed = EventFeed()
    with feed.subscribe(lambda _: True) as subscription:
        feed.publish([event(n) for n in range(1, WATCHER_LIMIT + 10)])
        await asyncio.sleep(0)
        kept = [await subscription.next() for _ in range(WATCHER_LIMIT)]
        assert kept == [event(n) for n in range(1, WATCHER_LIMIT + 1)]
        with pytest.raises(BusyError, match="behind"):
            await subscription.next()


async def test_a_closed_feed_ends_its_watchers_and_those_that_come_late() -> None:
    feed = EventFeed()
    with feed.subscribe(lambda _: True) as early:
        feed.close()
        assert await early.next() is None
    with feed.subscribe(lambda _: True) as late:
        assert await late.next() is None
