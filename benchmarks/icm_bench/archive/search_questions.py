"""What SearchService is asked in the benchmark: kinds of questions, each with arguments drawn at random."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import Engine, select

from cloud_service.database.sightings_tables import BoxesRow
from icm.v1 import search_pb2 as pb
from icm_bench.archive.search_scenes import DAY_US, MODELS, Scale

_MOMENTS = 5000
_CLASSES = ("person", "car", "truck", "bicycle", "bus", "dog", "bird")


class Ask(NamedTuple):
    """A call: the name of a method of SearchService, and its request."""

    method: str
    request: Any


Question = Callable[[random.Random], list[Ask]]
"""Draws the calls that one question takes; nearly all take one."""


@dataclass(frozen=True)
class Archive:
    """What questions are about.

    Attributes:
        scale: how large it is.
        moments: cameras and times at which they saw something.
    """

    scale: Scale
    moments: Sequence[tuple[str, int]]

    @staticmethod
    def of(database: Engine, scale: Scale) -> Archive:
        with database.connect() as connection:
            rows = connection.execute(select(BoxesRow.camera, BoxesRow.first_us).order_by(BoxesRow.id)).all()
        return Archive(scale, [(row.camera, row.first_us) for row in rows[:: max(1, len(rows) // _MOMENTS)]])


def questions(archive: Archive) -> dict[str, Question]:
    """All kinds of questions, by name."""
    cameras = archive.scale.names()

    def camera(chance: random.Random) -> str:
        return chance.choice(archive.moments)[0]

    def some(chance: random.Random, names: Sequence[str], count: int) -> list[str]:
        return chance.sample(names, min(count, len(names)))

    def search(**fields: Callable[[random.Random], Any]) -> Question:
        def draw(chance: random.Random) -> list[Ask]:
            given = {name: value(chance) for name, value in fields.items()}
            for ends in ("within", "on"):
                given |= given.pop(ends, {})
            return [Ask("SearchSightings", pb.SearchSightingsRequest(**given))]

        return draw

    def moment_within(seconds: int) -> Callable[[random.Random], dict[str, Any]]:
        return lambda chance: _ends(chance.choice(archive.moments)[1] - seconds * 500_000, seconds)

    def on(seconds: int, **more: Callable[[random.Random], Any]) -> Question:
        """Of a camera, around a time at which it saw something."""

        def draw(chance: random.Random) -> list[Ask]:
            name, at_us = chance.choice(archive.moments)
            given = {key: value(chance) for key, value in more.items()}
            ends = _ends(at_us - seconds * 500_000, seconds)
            return [Ask("SearchSightings", pb.SearchSightingsRequest(cameras=[name], **ends, **given))]

        return draw

    def activity(resolution: pb.Resolution.ValueType, seconds: int, **more: Any) -> Question:
        def draw(chance: random.Random) -> list[Ask]:
            name, at_us = chance.choice(archive.moments)
            ends = _ends(at_us - seconds * 500_000, seconds)
            return [Ask("GetActivity", pb.GetActivityRequest(camera=name, resolution=resolution, **ends, **more))]

        return draw

    def boxes(seconds: int) -> Question:
        def draw(chance: random.Random) -> list[Ask]:
            name, at_us = chance.choice(archive.moments)
            return [Ask("ListBoxes", pb.ListBoxesRequest(camera=name, **_ends(at_us, seconds)))]

        return draw

    def camera_page(chance: random.Random) -> list[Ask]:
        name, at_us = chance.choice(archive.moments)
        day = _ends(at_us // DAY_US * DAY_US, 86_400)
        return [
            Ask("GetActivity", pb.GetActivityRequest(camera=name, resolution=pb.RESOLUTION_MINUTE, **day)),
            Ask("SearchSightings", pb.SearchSightingsRequest(cameras=[name], **day)),
            Ask("ListBoxes", pb.ListBoxesRequest(camera=name, **_ends(at_us, 30))),
        ]

    def newest_boxes(chance: random.Random) -> list[Ask]:
        ends = _ends(archive.scale.end_us - 30_000_000, 30)
        return [Ask("ListBoxes", pb.ListBoxesRequest(camera=chance.choice(cameras), **ends))]

    def one_class(chance: random.Random) -> list[str]:
        return [chance.choice(_CLASSES)]

    def usual_score(chance: random.Random) -> float:
        return chance.uniform(0.5, 0.9)

    def rarely_passed(chance: random.Random) -> float:
        return chance.uniform(0.985, 0.99)

    def duration(low: int, high: int) -> Callable[[random.Random], Duration]:
        return lambda chance: Duration(seconds=chance.randrange(low, high))

    def always(value: Any) -> Callable[[random.Random], Any]:
        return lambda _: value

    month = archive.scale.days * 86_400
    return {
        "nothing: a class nobody saw": search(classes=always(["submarine"])),
        "everything, newest": search(),
        "everything, newest 500": search(page_size=always(500)),
        "a class": search(classes=one_class),
        "a rare class": search(classes=always(["bear"])),
        "a camera": search(cameras=lambda c: [camera(c)]),
        "a class of a camera": search(cameras=lambda c: [camera(c)], classes=one_class),
        "two classes of three cameras": search(
            cameras=lambda c: some(c, cameras, 3), classes=lambda c: some(c, _CLASSES, 2)
        ),
        "four classes of all cameras by name": search(cameras=always(cameras), classes=lambda c: some(c, _CLASSES, 4)),
        "seven classes of all cameras by name": search(cameras=always(cameras), classes=always(_CLASSES)),
        "a score": search(least_score=usual_score),
        "a score that few have": search(least_score=rarely_passed),
        "a score that few of a class have": search(least_score=rarely_passed, classes=lambda _: ["truck"]),
        "a score that few of three cameras have": search(
            least_score=rarely_passed, cameras=lambda c: some(c, cameras, 3)
        ),
        "a model": search(model=lambda c: c.choice(MODELS)),
        "a model that is none": search(model=always("none")),
        "a duration": search(least_duration=duration(10, 40)),
        "a duration that few have": search(least_duration=duration(120, 600)),
        "an hour of all cameras": search(within=moment_within(3600)),
        "an hour of all cameras, a class": search(within=moment_within(3600), classes=one_class),
        "a minute of a camera": on(60),
        "an hour of a camera": on(3600),
        "a day of a camera, a class and a score": on(86_400, classes=one_class, least_score=usual_score),
        "up to a time": search(on=lambda c: {"to": _stamp(c.choice(archive.moments)[1])}),
        "from a time on": search(on=lambda c: {"from": _stamp(c.choice(archive.moments)[1])}),
        "a region": search(region=_region),
        "a small region": search(region=_small_region),
        "a region of a camera's day": on(86_400, region=_region),
        "a small region of a camera, a class": search(
            region=_small_region, cameras=lambda c: [camera(c)], classes=one_class
        ),
        "all of it": search(
            region=_region, cameras=lambda c: some(c, cameras, 3), classes=lambda c: some(c, _CLASSES, 2),
            within=moment_within(5 * 86_400), least_score=usual_score, least_duration=duration(2, 10),
            model=lambda c: c.choice(MODELS[:2]),
        ),
        "activity, minutes of a day": activity(pb.RESOLUTION_MINUTE, 86_400),
        "activity, 2,000 minutes": activity(pb.RESOLUTION_MINUTE, 1999 * 60),
        "activity of a class, 2,000 minutes": activity(pb.RESOLUTION_MINUTE, 1999 * 60, class_name="person"),
        "activity, hours of a month": activity(pb.RESOLUTION_HOUR, month),
        "activity, days of a month": activity(pb.RESOLUTION_DAY, month),
        "boxes of 10 s": boxes(10),
        "boxes of a minute": boxes(60),
        "boxes of an hour, the first part": boxes(3600),
        "boxes of the newest 30 s": newest_boxes,
        "a camera's page: activity, sightings, boxes": camera_page,
    }  # fmt: skip


def _region(chance: random.Random) -> pb.Region:
    return _some_region(chance, chance.uniform(0.15, 0.5))


def _small_region(chance: random.Random) -> pb.Region:
    return _some_region(chance, 0.02)


def _some_region(chance: random.Random, side: float) -> pb.Region:
    left, top = chance.uniform(0, 1 - side), chance.uniform(0, 1 - side)
    return pb.Region(left=left, top=top, right=left + side, bottom=top + side)


def _ends(from_us: int, seconds: int) -> dict[str, Any]:
    return {"from": _stamp(from_us), "to": _stamp(from_us + seconds * 1_000_000)}


def _stamp(us: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(us)
    return stamp
