"""What detectors find in a month of cameras, made up: a segment after the other, of all cameras in the order of time.

Cameras are as unlike as real ones: a few stand in a street and see most of what is seen, some look at a yard where
hardly anything happens, and at night little does anywhere. What is seen comes in bursts. Objects walk, drive, or stand
still, come and go at a class's pace, are missed now and then, and have the score that the class of object has. Two
detectors follow each other, and a third one looks at some days of some cameras again.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from typing import NamedTuple

from cloud_service.detection.base import Detection
from cloud_service.events.event import FrameEvent
from cloud_service.sightings.relative_boxes import PictureSize
from cloud_service.store import Segment, SequenceSet
from icm.frame_id import FrameId

START_US = 1_790_035_200_000_000
"""Midnight, UTC."""
DAY_US = 86_400_000_000
SIZE = PictureSize(1280, 720)
FRAMES = 20
"""Of a segment of 10 s."""
FRAME_US = 500_000
SEGMENT_US = FRAMES * FRAME_US
EPOCH = 1
_QUIET_SEGMENTS = 360
"""How many segments one stands for in which nothing is seen: an hour, of which bytes alone are told."""
_SEED = 16

MODELS = ("yolo26n", "yolo26s@5d41402abc4b", "yolo26x@7d793037a076")
"""The live detector of the first two thirds, that of the last third, and one that looks at some days again."""


class _Kind(NamedTuple):
    """A class of objects: its share of them, mean seconds in sight, pixels a second, height, and usual score."""

    name: str
    share: float
    seconds: float
    speed: float
    height: float
    score: float


_KINDS = (
    _Kind("person", 0.56, 9, 60, 140, 0.62),
    _Kind("car", 0.25, 7, 160, 110, 0.74),
    _Kind("truck", 0.06, 8, 120, 160, 0.55),
    _Kind("bicycle", 0.06, 6, 110, 100, 0.5),
    _Kind("bus", 0.03, 9, 90, 180, 0.6),
    _Kind("dog", 0.025, 8, 80, 50, 0.45),
    _Kind("bird", 0.0148, 3, 200, 25, 0.35),
    _Kind("bear", 0.0002, 20, 40, 120, 0.4),
)
_STANDING = 0.12
"""The share of objects that do not move, and stay as long as the burst lasts."""
_MISSED = 0.06
_HOURS = (1, 0.5, 0.3, 0.3, 0.5, 2, 6, 14, 16, 11, 10, 12, 14, 12, 10, 11, 14, 17, 15, 11, 8, 6, 4, 2)
"""How much is seen in each hour of the day, UTC."""


@dataclass(frozen=True)
class Scale:
    """How large an archive is.

    Attributes:
        frames: in which something is seen, of all cameras together.
        cameras: how many.
        days: of how many days.
    """

    frames: int
    cameras: int
    days: int

    def names(self) -> list[str]:
        """The cameras, the busiest first."""
        return [f"camera-{number:02}" for number in range(1, self.cameras + 1)]

    @property
    def end_us(self) -> int:
        """Where its last day ends."""
        return START_US + self.days * DAY_US


class MadeSegment(NamedTuple):
    """A segment, and what was found in its frames; nothing in one that is quiet."""

    segment: Segment
    events: list[FrameEvent]


@dataclass
class _Thing:
    kind: _Kind
    left: float
    top: float
    width: float
    height: float
    across: float
    down: float
    frames: int
    score: float


def made_segments(scale: Scale) -> Iterator[MadeSegment]:
    """All of an archive's segments in the order of their starts. The same scale gives the same, always."""
    shares = [1 / (1 + place) ** 0.9 for place in range(scale.cameras)]
    yield from merge(
        *(
            _camera(name, place, round(scale.frames * shares[place] / sum(shares) / FRAMES), scale)
            for place, name in enumerate(scale.names())
        ),
        key=lambda made: made.segment.first_capture_us,
    )


def looked_again(scale: Scale) -> Iterator[MadeSegment]:
    """What the last model finds in five of thirty days of the busiest camera, once the archive is whole."""
    name, first, last = (
        scale.names()[0],
        START_US + scale.days * 2 // 3 * DAY_US,
        START_US + scale.days * 5 // 6 * DAY_US,
    )
    chance = random.Random(f"{_SEED} again")
    for segment, events in made_segments(scale):
        if segment.camera == name and first <= segment.first_capture_us < last and events:
            again = [
                replace(event, model=MODELS[2], detections=tuple(_again(chance, event.detections))) for event in events
            ]
            yield MadeSegment(segment, again)


def _camera(name: str, place: int, busy: int, scale: Scale) -> Iterator[MadeSegment]:
    chance = random.Random(f"{_SEED} {name}")
    slots = _busy_slots(chance, busy, scale.days)
    crowd = 6.3 - 0.35 * place * 16 / max(16, scale.cameras)
    looked_again = range(scale.days // 3 * 8640, scale.days // 2 * 8640) if place % 8 == 1 else range(0)
    things: list[_Thing] = []
    slot, end = 0, scale.days * 8640
    while slot < end:
        if slot not in slots:
            quiet = 1
            while quiet < _QUIET_SEGMENTS and slot + quiet < end and slot + quiet not in slots:
                quiet += 1
            things = []
            yield MadeSegment(_segment(name, slot, quiet, chance.randrange(80, 140)), [])
            slot += quiet
            continue
        model = MODELS[0] if slot < end * 2 // 3 else MODELS[1]
        found = [_look(chance, things, crowd) for _ in range(FRAMES)]
        events = [_event(name, slot, frame, model, tuple(boxes)) for frame, boxes in enumerate(found)]
        if slot in looked_again:
            events += [
                _event(name, slot, frame, MODELS[2], tuple(_again(chance, boxes))) for frame, boxes in enumerate(found)
            ]
        yield MadeSegment(_segment(name, slot, 1, chance.randrange(400, 2000)), events)
        slot += 1


def _busy_slots(chance: random.Random, count: int, days: int) -> set[int]:
    """Stretches of 10 s in which something is seen, in bursts of half a minute or so; the last ones are among them."""
    most = days * 8640
    if count > most // 2:
        raise ValueError(f"{count} busy segments of {days} days: give more days or cameras, or fewer frames")
    hours = range(24)
    slots = set(range(most - 4, most))
    while len(slots) < count:
        hour = chance.choices(hours, _HOURS)[0]
        start = chance.randrange(days) * 8640 + hour * 360 + chance.randrange(360)
        length = 1 + int(chance.expovariate(1 / 2.5))
        slots.update(range(start, min(start + length, most, start + count - len(slots))))
    return slots


def _look(chance: random.Random, things: list[_Thing], crowd: float) -> list[Detection]:
    """The next frame: moves what there is, lets new things come, and returns what the detector finds."""
    for thing in things:
        thing.left += thing.across
        thing.top += thing.down
        thing.frames -= 1
    things[:] = [
        of for of in things if of.frames > 0 and -of.width < of.left < SIZE.width and -of.height < of.top < SIZE.height
    ]
    while len(things) < crowd * 0.6 or (len(things) < crowd * 1.2 and chance.random() < 0.25):
        things.append(_new(chance))
    found = []
    for thing in things:
        if chance.random() < _MISSED:
            continue
        wobble = chance.gauss(0, 1.5)
        left, top = max(0.0, thing.left + wobble), max(0.0, thing.top + wobble)
        right, bottom = min(SIZE.width, thing.left + thing.width), min(SIZE.height, thing.top + thing.height)
        if right - left < 4 or bottom - top < 4:
            continue
        score = min(0.99, max(0.25, thing.score + chance.gauss(0, 0.07)))
        found.append(Detection(thing.kind.name, score, left, top, right, bottom))
    return found or [Detection("person", 0.3, 10, 10, 40, 100)]


def _new(chance: random.Random) -> _Thing:
    kind = chance.choices(_KINDS, [of.share for of in _KINDS])[0]
    near = math.exp(chance.gauss(0, 0.4))
    height = kind.height * near
    width = height * (0.45 if kind.name == "person" else 1.5)
    standing = chance.random() < _STANDING
    speed = 0.0 if standing else kind.speed * near * chance.uniform(0.6, 1.4) * FRAME_US / 1e6
    side = chance.choice((-1, 1))
    left = chance.uniform(0, SIZE.width * 0.9) if chance.random() < 0.6 else (0 if side > 0 else SIZE.width - width)
    frames = 1 + int(chance.expovariate(1 / (kind.seconds * 1e6 / FRAME_US)))
    score = min(0.97, max(0.26, chance.gauss(kind.score, 0.13)))
    return _Thing(
        kind, left, chance.uniform(0.25, 0.85) * (SIZE.height - height / 2), width, height,
        side * speed, chance.gauss(0, 0.1) * speed, 10_000 if standing else frames, score,
    )  # fmt: skip


def _again(chance: random.Random, boxes: Sequence[Detection]) -> Iterator[Detection]:
    """What a larger model finds: the same a little surer."""
    for of in boxes:
        score = min(0.99, of.score + chance.uniform(0, 0.1))
        yield Detection(of.class_name, score, of.left, of.top, of.right, of.bottom)


def _event(name: str, slot: int, frame: int, model: str, boxes: tuple[Detection, ...]) -> FrameEvent:
    sequence = slot * FRAMES + frame + 1
    return FrameEvent(FrameId(name, EPOCH, sequence), START_US + (sequence - 1) * FRAME_US, model, boxes)


def _segment(name: str, slot: int, slots: int, frame_bytes: int) -> Segment:
    """A segment of some slots' time."""
    start_us, first, records = START_US + slot * SEGMENT_US, slot * FRAMES + 1, slots * FRAMES
    return Segment(
        camera=name,
        number=slot + 1,
        epoch=EPOCH,
        path=f"{name}/{slot + 1}.icm",
        size=frame_bytes * records,
        records=records,
        first_capture_us=start_us,
        last_capture_us=start_us + slots * SEGMENT_US - FRAME_US,
        sequences=SequenceSet([(first, first + records - 1)]),
        sealed=True,
    )
