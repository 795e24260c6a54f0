"""Searches of what detectors found, as clients ask them and get their answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from icm.client.messages import time_of, utc
from icm.errors import ConfigError, ProtocolError
from icm.frame_id import FrameId
from icm.v1 import search_pb2, search_pb2_grpc

_PAGE = 200
_MOST_STRETCHES = 2000
"""The cloud tells of so many at once."""
_RESOLUTIONS = {
    "minute": (search_pb2.RESOLUTION_MINUTE, timedelta(minutes=1)),
    "hour": (search_pb2.RESOLUTION_HOUR, timedelta(hours=1)),
    "day": (search_pb2.RESOLUTION_DAY, timedelta(days=1)),
}


@dataclass(frozen=True)
class Region:
    """A rectangle of the picture, in parts of its width and height, 0 to 1.

    Attributes:
        left: left edge.
        top: top edge.
        right: right edge.
        bottom: bottom edge.
    """

    left: float
    top: float
    right: float
    bottom: float

    @staticmethod
    def of(message: search_pb2.Region) -> Region:
        return Region(message.left, message.top, message.right, message.bottom)


@dataclass(frozen=True)
class Sighting:
    """One object that one detector saw for a while.

    Attributes:
        id: its number in the cloud.
        camera: who saw it.
        class_name: the class, by the model's own name for it, such as "person".
        model: the detector, such as "yolo26n".
        start: capture time of the first frame it is in, UTC.
        end: capture time of the last frame it is in, UTC.
        frames: how many it was found in.
        best_score: the highest score, 0 to 1.
        best_frame: the frame of that.
        best_time: capture time of that frame, UTC.
        best_box: where it was in that frame.
        union_box: the least rectangle around all of its boxes.
    """

    id: int
    camera: str
    class_name: str
    model: str
    start: datetime
    end: datetime
    frames: int
    best_score: float
    best_frame: FrameId
    best_time: datetime
    best_box: Region
    union_box: Region

    @staticmethod
    def of(message: search_pb2.Sighting) -> Sighting:
        return Sighting(
            id=message.id,
            camera=message.camera,
            class_name=message.class_name,
            model=message.model,
            start=time_of(message.start),
            end=time_of(message.end),
            frames=message.frames,
            best_score=message.best_score,
            best_frame=FrameId.from_message(message.best_frame),
            best_time=time_of(message.best_time),
            best_box=Region.of(message.best_box),
            union_box=Region.of(message.union_box),
        )


@dataclass(frozen=True)
class ClassActivity:
    """What one detector found of one class in a stretch of time.

    Attributes:
        class_name: the class, by the model's own name for it.
        model: the detector.
        frames: in which it was found.
        boxes: how many were found.
        best_score: the highest score, 0 to 1.
    """

    class_name: str
    model: str
    frames: int
    boxes: int
    best_score: float


@dataclass(frozen=True)
class Activity:
    """What was recorded and found in a minute, hour or day.

    Attributes:
        start: when it starts, UTC.
        record_bytes: size of its records. A camera sends little while nothing moves, so these tell of motion.
        classes: what was found, by class and detector.
    """

    start: datetime
    record_bytes: int
    classes: tuple[ClassActivity, ...]

    @staticmethod
    def of(message: search_pb2.Activity) -> Activity:
        classes = (ClassActivity(c.class_name, c.model, c.frames, c.boxes, c.best_score) for c in message.classes)
        return Activity(time_of(message.start), message.record_bytes, tuple(classes))


class _SightingPages:
    """The requests for all sightings that are searched for, a page each."""

    def __init__(self, request: search_pb2.SearchSightingsRequest) -> None:
        self._request: search_pb2.SearchSightingsRequest | None = request

    def next(self) -> search_pb2.SearchSightingsRequest | None:
        return self._request

    def take(self, answer: search_pb2.SearchSightingsResponse) -> list[Sighting]:
        if not answer.next_cursor or self._request is None:
            self._request = None
        elif answer.next_cursor == self._request.cursor:
            raise ProtocolError("the cloud says that there are more sightings, and names the same page again")
        else:
            self._request.cursor = answer.next_cursor
        return [Sighting.of(sighting) for sighting in answer.sightings]


class _ActivityParts:
    """The requests for all activity of a stretch of time, a part each."""

    def __init__(self, camera: str, start: datetime, end: datetime, every: str, class_name: str) -> None:
        if every not in _RESOLUTIONS:
            raise ConfigError(f"there is no activity by {every!r}: minute, hour or day")
        resolution, width = _RESOLUTIONS[every]
        self._request = search_pb2.GetActivityRequest(camera=camera, class_name=class_name, resolution=resolution)
        self._end = utc(end)
        # The first stretch begins earlier than asked, which the cloud counts.
        self._most = width * (_MOST_STRETCHES - 1)
        self._start: datetime | None = utc(start)

    def next(self) -> search_pb2.GetActivityRequest | None:
        if self._start is None:
            return None
        getattr(self._request, "from").FromDatetime(self._start)
        self._request.to.FromDatetime(min(self._end, self._start + self._most))
        return self._request

    def take(self, answer: search_pb2.GetActivityResponse) -> list[Activity]:
        assert self._start is not None
        asked_to = time_of(self._request.to)
        following = time_of(answer.next_from) if answer.HasField("next_from") else asked_to
        if following <= self._start:
            raise ProtocolError("the cloud says that there is more activity, and names the same time again")
        self._start = following if following < self._end else None
        return [Activity.of(activity) for activity in answer.activities]


def _search_request(
    cameras: str | Sequence[str],
    classes: str | Sequence[str],
    *,
    least_score: float,
    start: datetime | None,
    end: datetime | None,
    region: Region | None,
    least_duration: timedelta | None,
    model: str,
) -> search_pb2.SearchSightingsRequest:
    """Raises ConfigError where a time has no time zone."""
    request = search_pb2.SearchSightingsRequest(
        cameras=[cameras] if isinstance(cameras, str) else cameras,
        classes=[classes] if isinstance(classes, str) else classes,
        least_score=least_score,
        model=model,
        page_size=_PAGE,
    )
    if start is not None:
        getattr(request, "from").FromDatetime(utc(start))
    if end is not None:
        request.to.FromDatetime(utc(end))
    if region is not None:
        request.region.CopyFrom(search_pb2.Region(**vars(region)))
    if least_duration is not None:
        request.least_duration.FromTimedelta(least_duration)
    return request


class SearchCalls(ABC):
    """What ``CloudClient`` finds of what detectors found."""

    _searches: search_pb2_grpc.SearchServiceStub

    @abstractmethod
    def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what may reach the cloud twice."""

    def search(
        self,
        cameras: str | Sequence[str] = (),
        classes: str | Sequence[str] = (),
        *,
        least_score: float = 0.0,
        start: datetime | None = None,
        end: datetime | None = None,
        region: Region | None = None,
        least_duration: timedelta | None = None,
        model: str = "",
    ) -> Iterator[Sighting]:
        """Sightings to which all of this applies, the latest begun first, asked for in pages while they are taken.

        A frame is part of sightings some ten seconds after its capture.

        Args:
            cameras: of this camera, or one of these; empty for all.
            classes: of this class, or one of these; empty for any.
            least_score: whose best score is at least this, 0 to 1.
            start: that last until this or longer, with its time zone; None for the oldest on.
            end: that began before this; None for up to the newest.
            region: of which one box touches this part of the picture; None for anywhere.
            least_duration: that last at least so long, an hour at most; None for any.
            model: of this detector; empty for any.

        Raises:
            ConfigError: a time has no time zone, or the cloud cannot be asked for that.
            NotFoundError: there is no such camera.
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
            PermissionDeniedError: as of ``CloudClient.cameras``.
        """
        pages = _SightingPages(
            _search_request(
                cameras, classes, least_score=least_score, start=start, end=end, region=region,
                least_duration=least_duration, model=model,
            )
        )  # fmt: skip
        while (request := pages.next()) is not None:
            yield from pages.take(self._ask(self._searches.SearchSightings, request))

    def activity(
        self, camera: str, start: datetime, end: datetime, *, every: str = "minute", class_name: str = ""
    ) -> Iterator[Activity]:
        """A camera's activity, the oldest first, asked for in parts while it is taken.

        Args:
            camera: its name.
            start: the stretch that this lies in is the first, with its time zone.
            end: leave out stretches that start at or after this.
            every: how long a stretch is: "minute", "hour" or "day", in UTC.
            class_name: of this class alone; empty for each.

        Raises:
            ConfigError: a time has no time zone, or the cloud cannot be asked for that.
            NotFoundError: there is no such camera.
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
            PermissionDeniedError: as of ``CloudClient.cameras``.
        """
        parts = _ActivityParts(camera, start, end, every, class_name)
        while (request := parts.next()) is not None:
            yield from parts.take(self._ask(self._searches.GetActivity, request))


class AsyncSearchCalls(ABC):
    """What ``AsyncCloudClient`` finds of what detectors found."""

    _searches: Any

    @abstractmethod
    async def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what may reach the cloud twice."""

    async def search(
        self,
        cameras: str | Sequence[str] = (),
        classes: str | Sequence[str] = (),
        *,
        least_score: float = 0.0,
        start: datetime | None = None,
        end: datetime | None = None,
        region: Region | None = None,
        least_duration: timedelta | None = None,
        model: str = "",
    ) -> AsyncIterator[Sighting]:
        """As ``CloudClient.search``."""
        pages = _SightingPages(
            _search_request(
                cameras, classes, least_score=least_score, start=start, end=end, region=region,
                least_duration=least_duration, model=model,
            )
        )  # fmt: skip
        while (request := pages.next()) is not None:
            for sighting in pages.take(await self._ask(self._searches.SearchSightings, request)):
                yield sighting

    async def activity(
        self, camera: str, start: datetime, end: datetime, *, every: str = "minute", class_name: str = ""
    ) -> AsyncIterator[Activity]:
        """As ``CloudClient.activity``."""
        parts = _ActivityParts(camera, start, end, every, class_name)
        while (request := parts.next()) is not None:
            for activity in parts.take(await self._ask(self._searches.GetActivity, request)):
                yield activity
