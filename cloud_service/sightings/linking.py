"""Which boxes are one object: a sighting is what a model found of a class in a camera's pictures, linked over time.

A box continues a sighting if it overlaps its last box by an IoU of 0.2 within 2 s, or by 0.5 within 10 s: an object
that stands still is missed now and then, and what is elsewhere after a while is another. Of several that could, those
that overlap most are linked first. No gap is longer than 10 s, and no sighting lasts longer than an hour: so whatever
is asked by time is a short range of an index, and a parked car is one row an hour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from cloud_service.events.event import FrameEvent
from cloud_service.sightings.relative_boxes import PictureSize, RelativeBox, relative_boxes

SHORT_GAP_US, SHORT_GAP_OVERLAP = 2_000_000, 0.2
LONG_GAP_US, LONG_GAP_OVERLAP = 10_000_000, 0.5
LONGEST_US = 3_600_000_000
"""Of a sighting."""


@dataclass
class Track:
    """A sighting in the making, or one that goes on.

    Attributes:
        id: its row's; None until it has one.
        class_name: the model's name for what was seen.
        start_us: capture time of the first box, microseconds since 1970.
        end_us: capture time of the last one.
        frames: how many it was seen in.
        best_score: the highest there was.
        best_us: capture time of the frame of that.
        best_epoch: that frame's epoch.
        best_sequence: that frame's sequence.
        best_box: its box there.
        last_box: its newest box.
        union: the least box around all.
        first_segment: the lowest number of a segment that holds some of it.
        last_segment: the highest one.
    """

    id: int | None
    class_name: str
    start_us: int
    end_us: int
    frames: int
    best_score: float
    best_us: int
    best_epoch: int
    best_sequence: int
    best_box: RelativeBox
    last_box: RelativeBox
    union: RelativeBox
    first_segment: int
    last_segment: int

    def continues_with(self, box: RelativeBox, capture_us: int) -> float:
        """How well a box goes on with this sighting, 0 to 1; 0 if it does not."""
        gap = capture_us - self.end_us
        if not 0 < gap <= LONG_GAP_US or capture_us - self.start_us > LONGEST_US:
            return 0.0
        overlap = self.last_box.overlap(box)
        return overlap if overlap >= (SHORT_GAP_OVERLAP if gap <= SHORT_GAP_US else LONG_GAP_OVERLAP) else 0.0

    def add(self, event: FrameEvent, score: float, box: RelativeBox) -> None:
        """Goes on with a box of a later frame."""
        self.end_us, self.last_box, self.union = event.capture_us, box, self.union.union(box)
        self.frames += 1
        if score > self.best_score:
            self.best_score, self.best_us, self.best_box = score, event.capture_us, box
            self.best_epoch, self.best_sequence = event.key.epoch, event.key.sequence


def link(
    events: Sequence[FrameEvent], size: PictureSize, segment: int, before: Sequence[Track]
) -> list[tuple[Track, ...]]:
    """Returns for each event the tracks of its detections, in their order; each is one of ``before``, or new.

    Args:
        events: of one model and segment, in the order of their capture times.
        size: of their pictures.
        segment: its number.
        before: sightings of the model that may go on, which this changes.
    """
    going_on: dict[str, list[Track]] = defaultdict(list)
    for track in before:
        going_on[track.class_name].append(track)
    boxes = iter(relative_boxes([found for event in events for found in event.detections], size))
    return [_link_frame(event, list(islice(boxes, len(event.detections))), segment, going_on) for event in events]


def _link_frame(
    event: FrameEvent, boxes: Sequence[RelativeBox], segment: int, going_on: dict[str, list[Track]]
) -> tuple[Track, ...]:
    at = event.capture_us
    by_class: dict[str, list[int]] = defaultdict(list)
    for place, found in enumerate(event.detections):
        by_class[found.class_name].append(place)
    links: list[tuple[float, int, Track]] = []
    for name, places in by_class.items():
        tracks = going_on[name] = [track for track in going_on[name] if track.end_us >= at - LONG_GAP_US]
        for track in tracks:
            for place in places:
                if overlap := track.continues_with(boxes[place], at):
                    links.append((overlap, place, track))
    links.sort(key=lambda of: -of[0])
    linked: dict[int, Track] = {}
    taken: set[int] = set()
    for _, place, track in links:
        if place not in linked and id(track) not in taken:
            linked[place] = track
            taken.add(id(track))
    result: list[Track] = []
    for place, (found, box) in enumerate(zip(event.detections, boxes, strict=True)):
        known = linked.get(place)
        if known is not None:
            known.add(event, found.score, box)
        else:
            known = Track(
                id=None,
                class_name=found.class_name,
                start_us=at,
                end_us=at,
                frames=1,
                best_score=found.score,
                best_us=at,
                best_epoch=event.key.epoch,
                best_sequence=event.key.sequence,
                best_box=box,
                last_box=box,
                union=box,
                first_segment=segment,
                last_segment=segment,
            )
            going_on[found.class_name].append(known)
        result.append(known)
    return tuple(result)
