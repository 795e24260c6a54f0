"""Events become packed boxes, sightings and activity: each once, whatever happens."""

from __future__ import annotations

import random
from itertools import count
from multiprocessing import get_context
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from cloud_service.database.opening import attach_database
from cloud_service.database.sightings_tables import ActivityRow, BoxesRow, RecordActivityRow, SightingRow
from cloud_service.database.statements import transaction
from cloud_service.database.tables import DetectionRow, FrameRow
from cloud_service.detection import Detection
from cloud_service.events.store import EventStore, FrameEvent
from cloud_service.sightings.folding import fold_events, fold_segment
from cloud_service.store import SequenceSet
from icm.frame_id import FrameId
from tests.cloud_service.events.test_packed_boxes import same_box
from tests.cloud_service.sightings.scenes import (
    EPOCH,
    FRAME_US,
    FRAMES,
    SIZE,
    START_US,
    box,
    boxes_in,
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

STORY = ("class_name", "model", "start_us", "end_us", "frames", "best_us", "first_segment", "last_segment")


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def same_event(one: FrameEvent, other: FrameEvent) -> bool:
    """Whether one is the other as it is after packing."""
    named = (one.key, one.capture_us, one.model) == (other.key, other.capture_us, other.model)
    return (
        named and len(one.detections) == len(other.detections) and all(map(same_box, one.detections, other.detections))
    )


def has_car(of: FrameEvent) -> bool:
    return any(found.class_name == "car" for found in of.detections)


def total(database: Engine, seconds: int, column: str, *where: tuple[str, Any]) -> int:
    """Sum of a column of ``activity``."""
    names = ("seconds", column, *(name for name, _ in where))
    wanted = [value for _, value in where]
    return sum(row[1] for row in rows(database, ActivityRow, *names) if row[0] == seconds and [*row[2:]] == wanted)


def test_folded_events_are_read_as_they_were_before(database: Engine) -> None:
    events = walk(1, 5 * FRAMES)
    store = committed(database, events)
    before = store.search(limit=1000)
    fold(database, *(segment(number) for number in (1, 2, 3)))
    after = store.search(limit=1000)
    assert len(rows(database, FrameRow)) == sum(1 for of in events[3 * FRAMES :] if of.detections)
    assert len(rows(database, BoxesRow)) == 3
    assert all(map(same_event, before, after))
    assert len(after) == len(events)
    assert all(same_event(of, store.get(of.key)) for of in events)  # type: ignore[arg-type]
    assert store.get(frame_event(5 * FRAMES + 1).key) is None
    assert keys(store.search(class_name="car", limit=1000)) == keys([of for of in before if has_car(of)])
    middle, end = events[FRAMES + 5].capture_us, events[4 * FRAMES].capture_us
    assert keys(store.search("gate", None, middle, end, 7)) == keys(events[4 * FRAMES - 7 : 4 * FRAMES][::-1])
    assert store.search("yard") == []


def test_what_is_folded_is_not_unknown(database: Engine) -> None:
    store = committed(database, walk(1, FRAMES))
    fold(database, segment(1))
    assert [key.sequence for key in store.unknown("gate", EPOCH, [(1, FRAMES + 2)])] == [FRAMES + 1, FRAMES + 2]


def test_a_sighting_goes_on_from_segment_to_segment(database: Engine) -> None:
    seen = [frame_event(sequence, box(5 * sequence, score=0.5 + sequence % 31 / 100)) for sequence in range(1, 81)]
    committed(database, seen)
    fold(database, *(segment(number) for number in (1, 2, 3, 4)))
    assert rows(database, SightingRow, *STORY) == [
        ("person", "tiny", START_US, START_US + 79 * FRAME_US, 80, START_US + 29 * FRAME_US, 1, 4)
    ]
    ((left, right),) = rows(database, SightingRow, "union_left", "union_right")
    assert (left, right) == (round(5 / 640 * 65_535), round(460 / 640 * 65_535))


def test_every_box_belongs_to_one_sighting_and_is_counted_once_in_each_minute_hour_and_day(database: Engine) -> None:
    events = walk(1, 4 * FRAMES)
    committed(database, events)
    fold(database, *(segment(number) for number in (1, 2, 3, 4)))
    assert sum(row[0] for row in rows(database, SightingRow, "frames")) == boxes_in(events)
    for seconds in (60, 3600, 86_400):
        assert total(database, seconds, "boxes") == boxes_in(events)
        assert total(database, seconds, "frames", ("class_name", "car")) == sum(map(has_car, events))
    assert len(rows(database, ActivityRow)) == 2 * (2 + 1 + 1)
    by_minute = [row for row in rows(database, RecordActivityRow, "seconds", "start_us", "bytes") if row[0] == 60]
    assert by_minute == [(60, START_US - 40_000_000, 60_002), (60, START_US + 20_000_000, 60_002)]


def test_bytes_of_a_segment_that_reaches_into_the_next_minute_go_to_both(database: Engine) -> None:
    of = segment(1, size=1000)
    of.first_capture_us, of.last_capture_us = START_US + 19_000_000, START_US + 23_000_000
    fold(database, of)
    sizes = [row[2] for row in rows(database, RecordActivityRow, "seconds", "start_us", "bytes") if row[0] == 60]
    assert sizes == [250, 750]


def test_to_fold_a_segment_again_changes_nothing(database: Engine) -> None:
    committed(database, walk(1, 2 * FRAMES))
    fold(database, segment(1), segment(2))
    before = everything(database)
    fold(database, segment(1), segment(2))
    with transaction(database) as connection:
        fold_events(connection, segment(2), SIZE, events_of(segment(2)))
    assert everything(database) == before


@pytest.mark.parametrize("again", [(), (box(9, "dog"),)], ids=["nothing", "a dog"])
@pytest.mark.parametrize("first", [(), (box(5),)], ids=["nothing", "a person"])
def test_a_frame_that_is_looked_at_again_after_folding_keeps_its_event(
    database: Engine, first: tuple[Detection, ...], again: tuple[Detection, ...]
) -> None:
    """As after a crash before the detector's place was noted."""
    store = committed(database, [frame_event(3, *first)])
    fold(database, segment(1))
    store.commit([frame_event(3, *again)], (), {})
    assert keys(store.search(limit=10)) == [(3, "tiny", [found.class_name for found in first])]


def test_a_frame_that_lies_in_two_segments_keeps_the_event_of_the_first(database: Engine) -> None:
    """As after a disk that forgot a segment, whose records came once more."""
    store = committed(database, walk(1, FRAMES))
    fold(database, segment(1))
    before = everything(database)
    store.commit([frame_event(3, box(0, "dog")), frame_event(FRAMES + 5, box(0))], (), {})
    again = segment(2)
    again.sequences = SequenceSet([(3, 3), (FRAMES + 1, 2 * FRAMES)])
    fold(database, again)
    assert [row for row in rows(database, BoxesRow) if row[1] == 1] == before["boxes"]
    assert total(database, 60, "boxes") == boxes_in(walk(1, FRAMES)) + 1
    assert not rows(database, FrameRow)


def test_events_that_come_late_of_a_folded_segment_join_it(database: Engine) -> None:
    events = walk(1, FRAMES)
    store = committed(database, events[:7])
    fold(database, segment(1))
    with transaction(database) as connection:
        fold_events(connection, segment(1), SIZE, events[3:])
    assert all(same_event(of, store.get(of.key)) for of in events)  # type: ignore[arg-type]
    assert (
        total(database, 60, "boxes") == boxes_in(events) == sum(row[0] for row in rows(database, SightingRow, "frames"))
    )
    assert len(rows(database, BoxesRow)) == 1


def test_a_model_that_looks_at_the_past_gives_events_and_sightings_beside_the_others(database: Engine) -> None:
    store = committed(database, walk(1, 3 * FRAMES))
    fold(database, *(segment(number) for number in (1, 2, 3)))
    first = rows(database, SightingRow, *STORY)
    for number in (1, 2):
        again = [frame_event(of.key.sequence, *of.detections[1:], model="large") for of in events_of(segment(number))]
        with transaction(database) as connection:
            fold_events(connection, segment(number), SIZE, again)
    assert [row for row in rows(database, SightingRow, *STORY) if row[1] == "tiny"] == first
    assert [row[:4] for row in rows(database, SightingRow, *STORY) if row[1] == "large"] == [
        ("car", "large", START_US, START_US + (2 * FRAMES - 2) * FRAME_US)
    ]
    newest = store.get(FrameId("gate", EPOCH, 3))
    assert newest is not None
    assert keys([newest]) == [(3, "large", ["car"])]  # type: ignore[list-item]
    assert keys([store.get(FrameId("gate", EPOCH, 10))]) == [(10, "large", [])]  # type: ignore[list-item]
    assert keys([store.get(FrameId("gate", EPOCH, 2 * FRAMES + 1))])[0][1] == "tiny"  # type: ignore[list-item]
    assert len(store.search(limit=1000)) == 5 * FRAMES
    assert total(database, 60, "boxes", ("model", "tiny")) == boxes_in(walk(1, 3 * FRAMES))


def test_records_that_came_late_lie_in_a_segment_of_their_own_and_lose_nothing(database: Engine) -> None:
    events = walk(1, 3 * FRAMES)
    late = [of for of in events if of.key.sequence % 7 == 0 and of.key.sequence <= 2 * FRAMES]
    on_time = [of for of in events if of not in late]
    gone = SequenceSet((of.key.sequence, of.key.sequence) for of in late)
    segments = [segment(number) for number in (1, 2, 3)]
    for of in segments:
        first, last = of.sequences.first, of.sequences.last
        of.sequences = SequenceSet((s, s) for s in range(first, last + 1) if s not in gone)
    behind = segment(4)
    behind.sequences, behind.first_capture_us = gone, late[0].capture_us
    behind.last_capture_us = late[-1].capture_us
    store = committed(database, on_time, late)
    fold(database, *segments, behind)
    assert rows(database, FrameRow) == []
    assert all(same_event(of, store.get(of.key)) for of in events)  # type: ignore[arg-type]
    assert keys(store.search(limit=1000)) == keys(events[::-1])
    assert (
        total(database, 60, "boxes") == boxes_in(events) == sum(row[0] for row in rows(database, SightingRow, "frames"))
    )


def test_where_a_record_is_gone_boxes_are_folded_all_the_same(database: Engine) -> None:
    store = committed(database, walk(1, FRAMES))
    fold(database, segment(1), size=None)
    assert rows(database, BoxesRow, "width", "height") == [(360, 420)]
    assert all(same_event(of, store.get(of.key)) for of in walk(1, FRAMES))  # type: ignore[arg-type]


class _Crash(Exception):
    pass


def test_a_crash_at_any_statement_leaves_all_as_it_was_and_the_next_attempt_does_it_once(database: Engine) -> None:
    store = committed(database, walk(1, 2 * FRAMES))
    fold(database, segment(1))
    before = everything(database)
    for fatal in count(1):
        left = fatal

        def crash(*_: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise _Crash

        event.listen(database, "before_cursor_execute", crash)
        try:
            fold(database, segment(2))
            break
        except _Crash:
            event.remove(database, "before_cursor_execute", crash)
            assert everything(database) == before
    event.remove(database, "before_cursor_execute", crash)
    assert fatal > 15
    assert total(database, 86_400, "boxes") == boxes_in(walk(1, 2 * FRAMES))
    assert keys(store.search(limit=1000)) == keys(walk(1, 2 * FRAMES)[::-1])


def test_whatever_is_found_and_however_it_is_folded_nothing_is_lost_or_counted_twice(database: Engine) -> None:
    """Each time of a camera of its own: random boxes, two models, any order of commits, segments folded again."""
    cameras = count(1)
    edge = st.floats(0, 640)
    found = st.builds(Detection, st.sampled_from(["person", "car"]), st.floats(0, 1), edge, edge, edge, edge)
    seen = st.tuples(
        st.integers(1, 3 * FRAMES), st.sampled_from(["tiny", "large"]), st.lists(found, max_size=3).map(tuple)
    )

    @given(st.lists(seen, max_size=25), st.integers(0, 1 << 30))
    @settings(max_examples=25, deadline=None)
    def holds(made: list[tuple[int, str, tuple[Detection, ...]]], seed: int) -> None:
        camera, order = f"camera-{next(cameras)}", random.Random(seed)
        events = [frame_event(s, *boxes, camera=camera, model=model) for s, model, boxes in made]
        kept: dict[tuple[FrameId, str], FrameEvent] = {}
        store = EventStore(database)
        segments = [segment(number, camera) for number in (1, 2, 3)]
        folded: list[int] = []
        for of in events:
            store.commit([of], (), {})
            kept.setdefault((of.key, of.model), of)
            if order.random() < 0.1 and len(folded) < 3:
                folded.append(len(folded))
                fold(database, segments[folded[-1]])
        with transaction(database) as connection:
            for each in segments:
                fold_segment(connection, each, SIZE)
                # What was committed behind the folding is for whoever detected it.
                fold_events(connection, each, SIZE, [of for of in kept.values() if of.key.sequence in each.sequences])
        found_now = store.search(camera, limit=1000)
        assert sorted((of.key, of.model) for of in found_now) == sorted(kept)
        assert all(same_event(kept[of.key, of.model], of) for of in found_now)
        boxes = boxes_in(list(kept.values()))
        of_camera = ("camera", camera)
        assert total(database, 3600, "boxes", of_camera) == boxes
        assert sum(row[1] for row in rows(database, SightingRow, "camera", "frames") if row[0] == camera) == boxes

    holds()


def fold_all(url: str, segments: int) -> None:
    """What a process does until it is killed."""
    fold(attach_database(url), *map(segment, range(1, segments + 1)))


def test_a_process_that_is_killed_again_and_again_folds_each_event_once(database: Engine, database_url: str) -> None:
    segments = 60
    events = walk(1, segments * FRAMES)
    committed(database, events)
    database.dispose()
    order, forking, killed = random.Random(1), get_context("fork"), 0
    while True:
        child = forking.Process(target=fold_all, args=(database_url, segments))
        child.start()
        child.join(order.uniform(0.05, 0.3) if killed < 5 else None)
        if child.exitcode == 0:
            break
        child.kill()
        child.join()
        killed += 1
    assert killed > 0
    assert rows(database, FrameRow) == rows(database, DetectionRow) == []
    assert total(database, 86_400, "boxes") == boxes_in(events)
    assert sum(row[0] for row in rows(database, SightingRow, "frames")) == boxes_in(events)
    sizes = [size for seconds, size in rows(database, RecordActivityRow, "seconds", "bytes") if seconds == 60]
    assert sum(sizes) == segments * segment(1).size
