"""Which boxes are one object: a sighting is what a model found of a class in a camera's pictures, linked over time.

A box continues a sighting if it overlaps its last box by an IoU of 0.2 within 2 s, or by 0.5 within 10 s: an object
that stands still is missed now and then, and what is elsewhere after a while is another. Cameras of few frames a second
show who walks beside where they were: so within 2 s a box of about the same size also continues a sighting that is
expected near it, as it moved before. As many are linked as can be, and of the ways to do so that in which they overlap
most and are nearest together.
No gap is longer than 10 s, and no sighting lasts longer than an hour: so whatever is asked by time is a short range of
an index, and a parked car is one row an hour.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from scipy.optimize import linear_sum_assignment

from cloud_service.events.event import FrameEvent
from cloud_service.sightings.relative_boxes import WHOLE, PictureSize, RelativeBox, relative_boxes

SHORT_GAP_US, SHORT_GAP_OVERLAP = 2_000_000, 0.2
LONG_GAP_US, LONG_GAP_OVERLAP = 10_000_000, 0.5
REACH, REACH_AT_FIRST = 0.7, 1.5
"""How far from where it is expected an object is looked for, in sides of a square of its box's size: once it was seen
to move, and before, when it is expected where it was."""
ALIKE = 0.4
"""Widths and heights of its two boxes, the lesser by the greater each, then have at least this product."""
LONGEST_US = 3_600_000_000
"""Of a sighting."""
_MORE = 1000
"""By how much more a pair counts than how well it fits, so that there are as many as can be."""


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
        motion: widths and heights of the picture that its centre moved in a microsecond; None while nobody knows, as
            with one that was begun in an earlier segment.
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
    motion: tuple[float, float] | None = None

    def continues_with(self, box: RelativeBox, capture_us: int, size: PictureSize) -> float:
        """How well a box goes on with this sighting: above 1 if it overlaps, below if it is near, 0 if it does not."""
        gap = capture_us - self.end_us
        if not 0 < gap <= LONG_GAP_US or capture_us - self.start_us > LONGEST_US:
            return 0.0
        overlap = self.last_box.overlap(box)
        if overlap >= (SHORT_GAP_OVERLAP if gap <= SHORT_GAP_US else LONG_GAP_OVERLAP):
            return 1 + overlap
        return self._nearness(box, gap, size) if gap <= SHORT_GAP_US else 0.0

    def _nearness(self, box: RelativeBox, gap_us: int, size: PictureSize) -> float:
        """1 where the sighting is expected, 0 out of reach or for a box of another shape."""
        last = self.last_box
        widths, heights = (last.right - last.left, box.right - box.left), (last.bottom - last.top, box.bottom - box.top)
        if min(widths) <= 0 or min(heights) <= 0:
            return 0.0
        if min(widths) * min(heights) < ALIKE * max(widths) * max(heights):
            return 0.0
        across, down = self._steps(box)
        if self.motion is not None:
            across, down = across - self.motion[0] * gap_us, down - self.motion[1] * gap_us
        sides = [math.sqrt(w * size.width * h * size.height) / WHOLE for w, h in zip(widths, heights, strict=True)]
        apart = math.hypot(across * size.width, down * size.height) / (sum(sides) / 2)
        return max(0.0, 1 - apart / (REACH_AT_FIRST if self.motion is None else REACH))

    def _steps(self, box: RelativeBox) -> tuple[float, float]:
        """From the centre of its last box to that of another, in widths and heights of the picture."""
        last = self.last_box
        across, down = box.left + box.right - last.left - last.right, box.top + box.bottom - last.top - last.bottom
        return across / (2 * WHOLE), down / (2 * WHOLE)

    def add(self, event: FrameEvent, score: float, box: RelativeBox) -> None:
        """Goes on with a box of a later frame."""
        across, down = self._steps(box)
        gap_us = event.capture_us - self.end_us
        self.motion = across / gap_us, down / gap_us
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
    return [_link_frame(event, list(islice(boxes, len(event.detections))), size, segment, going_on) for event in events]


def _paired(
    tracks: Sequence[Track], places: Sequence[int], boxes: Sequence[RelativeBox], at_us: int, size: PictureSize
) -> dict[int, Track]:
    """Which boxes of a frame go on with which sightings of their class, by the place of the box.

    As many as can, and of these choices the one in which they go on best together: each by itself would often take the
    place of whoever walks ahead.
    """
    fits = np.array([[track.continues_with(boxes[place], at_us, size) for place in places] for track in tracks])
    if not fits.any():
        return {}
    pairs = linear_sum_assignment(np.where(fits > 0, fits + _MORE, 0), maximize=True)
    return {places[j]: tracks[i] for i, j in zip(*pairs, strict=True) if fits[i, j] > 0}


def _link_frame(
    event: FrameEvent, boxes: Sequence[RelativeBox], size: PictureSize, segment: int, going_on: dict[str, list[Track]]
) -> tuple[Track, ...]:
    at = event.capture_us
    by_class: dict[str, list[int]] = defaultdict(list)
    for place, found in enumerate(event.detections):
        by_class[found.class_name].append(place)
    linked: dict[int, Track] = {}
    for name, places in by_class.items():
        tracks = going_on[name] = [track for track in going_on[name] if track.end_us >= at - LONG_GAP_US]
        linked |= _paired(tracks, places, boxes, at, size)
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
