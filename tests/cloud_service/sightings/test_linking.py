"""Which boxes are one object."""

from __future__ import annotations

import pytest

from cloud_service.detection import Detection
from cloud_service.events.event import FrameEvent
from cloud_service.sightings.linking import LONGEST_US, Track, link
from cloud_service.sightings.relative_boxes import WHOLE, PictureSize, RelativeBox
from icm.frame_id import FrameId

SIZE = PictureSize(800, 600)
SECOND = 1_000_000


def box(left: float, name: str = "person", score: float = 0.5, top: float = 100.0) -> Detection:
    """100 by 200 pixels."""
    return Detection(name, score, left, top, left + 100, top + 200)


def frame(seconds: float, *found: Detection) -> FrameEvent:
    return FrameEvent(FrameId("gate", 7, 1 + round(seconds * 100)), round(seconds * SECOND), "tiny", found)


def sightings(*events: FrameEvent) -> list[Track]:
    """The sightings of these events, in the order they begin."""
    tracks = [track for of_frame in link(events, SIZE, 1, []) for track in of_frame]
    return list({id(track): track for track in tracks}.values())


def test_what_moves_on_is_one_sighting_with_its_best_frame_and_the_box_around_all() -> None:
    (walker,) = sightings(
        frame(0, box(0)), frame(1, box(40, score=0.9)), frame(2, box(80)), frame(2.5, box(120, score=0.7))
    )
    assert (walker.class_name, walker.start_us, walker.end_us, walker.frames) == ("person", 0, 2_500_000, 4)
    assert (walker.best_score, walker.best_us, walker.best_epoch, walker.best_sequence) == (0.9, SECOND, 7, 101)
    assert walker.best_box == RelativeBox(*(round(part * WHOLE) for part in (40 / 800, 1 / 6, 140 / 800, 0.5)))
    assert walker.union == RelativeBox(*(round(part * WHOLE) for part in (0, 1 / 6, 220 / 800, 0.5)))


def test_who_walks_further_than_a_box_is_wide_is_one_sighting_and_what_is_out_of_reach_another() -> None:
    # A box is 100 wide and 200 high, so a side of a square of its size is 141.
    assert [of.frames for of in sightings(frame(0, box(0)), frame(1, box(205)))] == [2]
    assert [of.frames for of in sightings(frame(0, box(0)), frame(1, box(220)))] == [1, 1]


def test_who_was_seen_to_move_is_expected_further_on() -> None:
    before = frame(0, box(0)), frame(1, box(150))
    assert [of.frames for of in sightings(*before, frame(2, box(390)))] == [3]
    assert [of.frames for of in sightings(*before, frame(2, box(410)))] == [2, 1]


def test_two_who_walk_in_line_are_not_taken_for_each_other() -> None:
    behind, ahead = sightings(*(frame(n, box(120 * n), box(120 * n + 120)) for n in range(4)))
    assert (behind.frames, ahead.frames) == (4, 4)
    assert (behind.union.left, ahead.union.left) == (0, round(120 / 800 * WHOLE))


def test_what_is_near_and_of_another_shape_is_another() -> None:
    lying = Detection("person", 0.5, 150, 250, 350, 300)
    assert [of.frames for of in sightings(frame(0, box(0)), frame(1, box(150)))] == [2]
    assert [of.frames for of in sightings(frame(0, box(0)), frame(1, lying))] == [1, 1]


@pytest.mark.parametrize(
    ("seconds", "moved", "count"),
    [(2, 60, 1), (2.1, 60, 2), (2.1, 30, 1), (2.1, 34, 2), (10, 30, 1), (10.1, 0, 2)],
)
def test_after_two_seconds_only_what_stands_still_goes_on_and_after_ten_nothing(
    seconds: float, moved: float, count: int
) -> None:
    assert len(sightings(frame(0, box(0)), frame(seconds, box(moved)))) == count


def test_classes_are_never_linked() -> None:
    assert [of.class_name for of in sightings(frame(0, box(0)), frame(1, box(0, "dog")))] == ["person", "dog"]


def test_of_two_objects_each_goes_on_with_what_overlaps_it_most() -> None:
    left, right = sightings(frame(0, box(0), box(60)), frame(1, box(50), box(8)), frame(2, box(16), box(40)))
    assert (left.frames, right.frames) == (3, 3)
    assert left.union.left == 0
    assert right.union.left == round(40 / 800 * WHOLE)


def test_two_boxes_of_a_frame_are_never_one_object() -> None:
    assert sorted(of.frames for of in sightings(frame(0, box(0)), frame(1, box(0), box(2)))) == [1, 2]


def test_what_stays_gives_a_sighting_an_hour() -> None:
    events = [frame(seconds, box(0)) for seconds in range(0, 2 * 3600 + 30, 5)]
    first, second, third = sightings(*events)
    assert first.end_us - first.start_us == second.end_us - second.start_us == LONGEST_US
    assert (first.frames + second.frames + third.frames) == len(events)


def test_pictures_that_become_smaller_hold_the_same_object_still() -> None:
    (seen,) = {id(of): of for (of,) in link([frame(0, box(100))], SIZE, 1, [])}.values()
    half = Detection("person", 0.5, 50, 50, 100, 150)
    ((again,),) = link([frame(1, half)], PictureSize(400, 300), 2, [seen])
    assert again is seen
    assert seen.frames == 2
