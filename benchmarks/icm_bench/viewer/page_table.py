"""Every address of the viewer that a browser reads: those that are measured as pages, each with its budget, and why the
others are not. A test walks the viewer's routes and fails where one stands in neither.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from cloud_service.viewer.web.time_fields import field_text
from icm.frame_id import FrameId

PERSON = "bench"
"""Who looks: an administrator."""
MOST_QUERIES = 5
"""Statements that a page may ask the database: four of its own, and the one that finds the session."""
REGION_QUERIES = 7
"""Where a part of the picture is searched, boxes have to be read besides."""
_USUAL_MS, _LIST_MS, _SEARCH_MS, _CAMERA_MS, _CHEAP_MS, _LOGIN_MS = 60.0, 80.0, 100.0, 120.0, 20.0, 250.0
_STORAGE_MS, _JOBS_MS = 150.0, 40.0
_OF_CAMERA = "/cameras/{camera}/"
_DAY = 86_400
_CLASSES = ("person", "car", "truck", "bicycle", "bus", "dog", "bird")


@dataclass(frozen=True)
class Scene:
    """What addresses are about.

    Attributes:
        moments: cameras, and times at which they saw something, microseconds since 1970.
        frame: that the cloud can decode.
        cursors: of pages far down in a search for everything, as addresses have them.
        export: the name of one.
    """

    moments: Sequence[tuple[str, int]]
    frame: FrameId
    cursors: Sequence[str]
    export: str


Draw = Callable[[random.Random, Scene], str]
"""Draws an address."""


@dataclass(frozen=True)
class MeasuredPage:
    """A way to ask for a page.

    Attributes:
        name: for a person.
        route: its address as the viewer's routes have it.
        budget_ms: what 95 of 100 answers may take, in milliseconds.
        draw: an address.
        queries: statements that an answer may ask the database.
        by_stranger: whether it is asked for by somebody who is not logged in.
        logs_in: whether it is a form with name and password that is sent there.
        asks_cloud: whether most of its time is the cloud's, who decodes; that is told beside it.
    """

    name: str
    route: str
    budget_ms: float
    draw: Draw
    queries: int = MOST_QUERIES
    by_stranger: bool = False
    logs_in: bool = False
    asks_cloud: bool = False


def _at(address: str) -> Draw:
    return lambda _chance, _scene: address


def _search(path: str, **fields: Callable[[random.Random, Scene], str]) -> Draw:
    def draw(chance: random.Random, scene: Scene) -> str:
        return f"{path}?{urlencode({name: value(chance, scene) for name, value in fields.items()})}"

    return draw


def _class(chance: random.Random, _scene: Scene) -> str:
    return chance.choice(_CLASSES)


def _camera(chance: random.Random, scene: Scene) -> str:
    return chance.choice(scene.moments)[0]


def _score(chance: random.Random, _scene: Scene) -> str:
    return f"{chance.uniform(0.5, 0.9):.3f}"


def _rare_score(chance: random.Random, _scene: Scene) -> str:
    return f"{chance.uniform(0.985, 0.99):.4f}"


def _region(chance: random.Random, _scene: Scene) -> str:
    side = chance.uniform(0.02, 0.4)
    left, top = chance.uniform(0, 1 - side), chance.uniform(0, 1 - side)
    return f"{left:.4f},{top:.4f},{left + side:.4f},{top + side:.4f}"


def _cursor(chance: random.Random, scene: Scene) -> str:
    return chance.choice(scene.cursors)


def _day(chance: random.Random, scene: Scene) -> str:
    at_us = chance.choice(scene.moments)[1]
    ends = {"from": field_text(at_us - 43_200_000_000), "to": field_text(at_us + 43_200_000_000)}
    return "/search?" + urlencode({"camera": _camera(chance, scene), **ends})


def _camera_at(chance: random.Random, scene: Scene) -> str:
    camera, at_us = chance.choice(scene.moments)
    return f"/cameras/{camera}?{urlencode({'t': field_text(at_us)})}"


def _watch(chance: random.Random, scene: Scene) -> str:
    some = chance.sample(scene.moments, 12)
    cameras = list(dict.fromkeys(camera for camera, _ in some))[:4]
    return "/watch?" + urlencode({"cameras": ",".join(cameras), "t": field_text(some[0][1])})


def _stretch(of: str, seconds: int) -> Draw:
    """A stretch of time of a camera in which something was seen, as long as the page's scripts ask for."""

    def draw(chance: random.Random, scene: Scene) -> str:
        camera, at_us = chance.choice(scene.moments)
        from_us = at_us // (seconds * 1_000_000) * seconds * 1_000_000
        ends = {"from": field_text(from_us), "to": field_text(from_us + seconds * 1_000_000)}
        return f"/cameras/{camera}/{of}?{urlencode(ends)}"

    return draw


def _frame(_chance: random.Random, scene: Scene) -> str:
    return f"/cameras/{scene.frame.camera}/frame/{scene.frame.epoch}/{scene.frame.sequence}"


PAGES = (
    MeasuredPage("login, the form", "/login", _USUAL_MS, _at("/login"), queries=0, by_stranger=True),
    MeasuredPage("login, with a password", "/login", _LOGIN_MS, _at("/login"), logs_in=True),
    MeasuredPage("wall", "/", 50.0, _at("/")),
    MeasuredPage("newest sightings", "/newest", 50.0, _at("/newest")),
    MeasuredPage("cameras", "/cameras", _LIST_MS, _at("/cameras")),
    MeasuredPage("a camera", "/cameras/{camera}", _CAMERA_MS, _camera_at),
    MeasuredPage("cameras on one playhead", "/watch", _CAMERA_MS, _watch),
    MeasuredPage("timeline, two hours", _OF_CAMERA + "timeline.json", _USUAL_MS, _stretch("timeline.json", 7200)),
    MeasuredPage("timeline, a day", _OF_CAMERA + "timeline.json", _USUAL_MS, _stretch("timeline.json", _DAY)),
    MeasuredPage("timeline, 64 days", _OF_CAMERA + "timeline.json", _USUAL_MS, _stretch("timeline.json", 64 * _DAY)),
    MeasuredPage(
        "timeline, 1024 days", _OF_CAMERA + "timeline.json", _USUAL_MS, _stretch("timeline.json", 1024 * _DAY)
    ),
    MeasuredPage("holds of a day", _OF_CAMERA + "holds.json", _USUAL_MS, _stretch("holds.json", _DAY)),
    MeasuredPage("boxes of a minute", _OF_CAMERA + "boxes.json", _USUAL_MS, _stretch("boxes.json", 60)),
    MeasuredPage("playlist, two hours", _OF_CAMERA + "hls.m3u8", _USUAL_MS, _stretch("hls.m3u8", 7200)),
    MeasuredPage("search", "/search", _SEARCH_MS, _at("/search")),
    MeasuredPage("search, a class", "/search", _SEARCH_MS, _search("/search", **{"class": _class})),
    MeasuredPage(
        "search, a class of a camera and a score", "/search", _SEARCH_MS,
        _search("/search", **{"class": _class, "camera": _camera, "score": _score}),
    ),
    MeasuredPage("search, a score that few have", "/search", _SEARCH_MS, _search("/search", score=_rare_score)),
    MeasuredPage("search, a day of a camera", "/search", _SEARCH_MS, _day),
    MeasuredPage("search, a region", "/search", _SEARCH_MS, _search("/search", region=_region), REGION_QUERIES),
    MeasuredPage("search, far down", "/search", _SEARCH_MS, _search("/search", after=_cursor)),
    MeasuredPage("review", "/review", _SEARCH_MS, _at("/review")),
    MeasuredPage("review, a class", "/review", _SEARCH_MS, _search("/review", **{"class": _class})),
    MeasuredPage("exports", "/exports", _USUAL_MS, _at("/exports")),
    MeasuredPage("an export", "/exports/{export}", _USUAL_MS, lambda _chance, scene: f"/exports/{scene.export}"),
    MeasuredPage(
        "frame", "/cameras/{camera}/frame/{epoch}/{sequence}", _USUAL_MS, _frame, asks_cloud=True
    ),
    MeasuredPage("holds", "/holds", _USUAL_MS, _at("/holds")),
    MeasuredPage("storage", "/storage", _STORAGE_MS, _at("/storage")),
    MeasuredPage("integrity", "/integrity", _SEARCH_MS, _at("/integrity")),
    MeasuredPage("jobs", "/jobs", _JOBS_MS, _at("/jobs")),
    MeasuredPage("account", "/account", _USUAL_MS, _at("/account")),
    MeasuredPage("users", "/admin/users", _USUAL_MS, _at("/admin/users")),
    MeasuredPage("a user", "/admin/users/{name}", _USUAL_MS, _at(f"/admin/users/{PERSON}")),
    MeasuredPage("tokens", "/admin/tokens", _USUAL_MS, _at("/admin/tokens")),
    MeasuredPage("audit", "/admin/audit", _USUAL_MS, _at("/admin/audit")),
    MeasuredPage("about", "/about", _CHEAP_MS, _at("/about")),
    MeasuredPage("health", "/health", _CHEAP_MS, _at("/health")),
)  # fmt: skip
"""What is measured."""

NOT_MEASURED = {
    "/static/{digest}/{name:path}": "a file of this machine, which browsers keep",
    "/setup/{secret}": "is there before the first account only",
    "/shared/{export}/{expires}/{signature}": "a download",
    "/exports/{export}/case.zip": "a download",
    "/integrity/{verification}": "the report of one that somebody started; `/integrity` has all of them",
    "/cameras/{camera}/latest.jpg": "a picture that the cloud decodes",
    "/cameras/{camera}/live.mjpg": "pictures without an end: `icm-bench viewer-wall`",
    "/cameras/{camera}/frame/{epoch}/{sequence}/picture.jpg": "a picture that the cloud decodes",
    "/cameras/{camera}/frame/{epoch}/{sequence}/picture.png": "a picture that the cloud decodes",
    _OF_CAMERA + "frame.jpg": "a picture that the cloud decodes",
    _OF_CAMERA + "frames.json": "the cloud's answer, which no database of the viewer's is asked for",
    _OF_CAMERA + "sprites/{hour}.jpg": "a picture out of files of the archive",
    _OF_CAMERA + "boxes.vtt": "boxes.json in another form",
    _OF_CAMERA + "init/{name}.mp4": "a file of the archive",
    _OF_CAMERA + "video/{name}.mp4": "a file of the archive",
    _OF_CAMERA + "rendered/{piece}/init.mp4": "a video that the cloud renders",
    _OF_CAMERA + "rendered/{piece}/piece.m4s": "a video that the cloud renders",
    _OF_CAMERA + "clip.mp4": "a video that the cloud makes",
    "/cameras/{camera}/sightings/{sighting}/crop.jpg": "a picture that the cloud decodes",
}
"""Addresses that a browser reads and that are no pages, and what they are instead."""
