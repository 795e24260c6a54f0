"""SearchService: what was seen in the past."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from sqlalchemy import Engine as Database

from cloud_service.access.access import ANYBODY, Access, Caller
from cloud_service.api.answers import errors_answered, microseconds, timestamp
from cloud_service.api.archive_service import detections_message
from cloud_service.database.statements import walking
from cloud_service.sightings.page_cursor import PageCursor
from cloud_service.sightings.relative_boxes import WHOLE, RelativeBox
from cloud_service.sightings.search import Page, SightingQuery, search_sightings
from cloud_service.sightings.timeline import MOST_BUCKETS, list_boxes, read_activity
from cloud_service.store import RecordStore
from icm.errors import ConfigError, NotFoundError
from icm.frame_id import FrameId
from icm.v1 import search_pb2 as pb
from icm.v1.search_pb2_grpc import SearchServiceServicer

_USUAL_PAGE, _MOST_PAGE = 50, 500
_MOST_NAMES = 64
_MOST_TIME_US = 1 << 60
_SECONDS = {
    pb.RESOLUTION_UNSPECIFIED: 60,
    pb.RESOLUTION_MINUTE: 60,
    pb.RESOLUTION_HOUR: 3600,
    pb.RESOLUTION_DAY: 86_400,
}


class SearchService(SearchServiceServicer):
    """See search.proto."""

    def __init__(self, database: Database, store: RecordStore, access: Access = ANYBODY) -> None:
        """Creates the service.

        Args:
            store: knows the cameras.
            access: who may read which camera.
        """
        self._database, self._store, self._access = database, store, access

    async def SearchSightings(self, request: pb.SearchSightingsRequest, context: Any) -> pb.SearchSightingsResponse:
        """See search.proto."""
        async with errors_answered(context):
            cameras = self._readable(self._access.caller(context), request.cameras)
            query = _query(request, cameras)
            limit = request.page_size or _USUAL_PAGE
            if limit > _MOST_PAGE:
                raise ConfigError(f"SearchSightings: page_size is {limit}, and {_MOST_PAGE} at most: ask for pages")
            asked = repr(query)
            after = PageCursor.from_text(request.cursor, asked) if request.cursor else None
            page = await asyncio.to_thread(self._search, query, limit, after)
        answer = pb.SearchSightingsResponse(
            sightings=[_sighting(row) for row in page.rows], next_cursor=page.next.to_text(asked) if page.next else ""
        )
        if page.count is not None:
            answer.count, answer.count_goes_on = page.count
        return answer

    async def GetActivity(self, request: pb.GetActivityRequest, context: Any) -> pb.GetActivityResponse:
        """See search.proto."""
        async with errors_answered(context):
            self._check(self._access.caller(context), request.camera)
            if request.resolution not in _SECONDS:
                raise ConfigError(f"GetActivity: there is no resolution {request.resolution}: minute, hour or day")
            seconds = _SECONDS[request.resolution]
            from_us, to_us = _range(request)
            from_us = from_us // (seconds * 1_000_000) * seconds * 1_000_000
            if to_us - from_us > MOST_BUCKETS * seconds * 1_000_000:
                raise ConfigError(
                    f"GetActivity: more than {MOST_BUCKETS} stretches of {seconds} s lie between 'from' and 'to':"
                    " ask for less time, or for longer ones"
                )
            return await asyncio.to_thread(self._activity, request.camera, request.class_name, seconds, from_us, to_us)

    async def ListBoxes(self, request: pb.ListBoxesRequest, context: Any) -> pb.ListBoxesResponse:
        """See search.proto."""
        async with errors_answered(context):
            self._check(self._access.caller(context), request.camera)
            from_us, to_us = _range(request)
            return await asyncio.to_thread(self._boxes, request.camera, from_us, to_us, request.model)

    def _readable(self, caller: Caller, asked: Any) -> tuple[str, ...] | None:
        """The cameras to search; None for all there are."""
        if len(asked) > _MOST_NAMES:
            raise ConfigError(
                f"SearchSightings: {len(asked)} cameras, and {_MOST_NAMES} at most: ask for some at a time"
            )
        for camera in asked:
            self._check(caller, camera)
        if asked:
            return tuple(sorted(set(asked)))
        if caller.reads(""):
            return None
        return tuple(camera for camera in self._store.names() if caller.reads(camera))

    def _check(self, caller: Caller, camera: str) -> None:
        caller.check_reads(camera)
        if not camera or camera not in self._store.names():
            raise NotFoundError(f"there is no camera {camera[:80]!r}; ListCameras names them")

    def _search(self, query: SightingQuery, limit: int, after: PageCursor | None) -> Page:
        counted = after is None and query.region is None
        with walking(self._database) as connection:
            return search_sightings(connection, query, limit, after, counted=counted)

    def _activity(self, camera: str, class_name: str, seconds: int, from_us: int, to_us: int) -> pb.GetActivityResponse:
        with walking(self._database) as connection:
            buckets, next_us = read_activity(connection, camera, class_name, seconds, from_us, to_us)
        return pb.GetActivityResponse(
            activities=[
                pb.Activity(
                    start=timestamp(bucket.start_us),
                    record_bytes=bucket.bytes,
                    classes=[
                        pb.ClassActivity(
                            class_name=row.class_name,
                            model=row.model,
                            frames=row.frames,
                            boxes=row.boxes,
                            best_score=row.best_score,
                        )
                        for row in bucket.classes
                    ],
                )
                for bucket in buckets
            ],
            next_from=timestamp(next_us) if next_us is not None else None,
        )

    def _boxes(self, camera: str, from_us: int, to_us: int, model: str) -> pb.ListBoxesResponse:
        with walking(self._database) as connection:
            frames, next_us = list_boxes(connection, camera, from_us, to_us, model)
        return pb.ListBoxesResponse(
            frames=[
                pb.Boxes(
                    detections=detections_message(of.event), width=of.width, height=of.height, sightings=of.sightings
                )
                for of in frames
            ],
            next_from=timestamp(next_us) if next_us is not None else None,
        )


def _query(request: pb.SearchSightingsRequest, cameras: tuple[str, ...] | None) -> SightingQuery:
    """Returns what a request asks for.

    Raises:
        ConfigError: it is out of bounds, and where.
    """
    if len(request.classes) > _MOST_NAMES:
        raise ConfigError(f"SearchSightings: {len(request.classes)} classes, and {_MOST_NAMES} at most: ask for fewer")
    if not 0 <= request.least_score <= 1:
        raise ConfigError(f"SearchSightings: least_score is {request.least_score}: give 0 to 1")
    least = request.least_duration
    if least.seconds < 0 or least.nanos < 0 or least.seconds > 3600:
        raise ConfigError("SearchSightings: least_duration is not between 0 and an hour, which no sighting is beyond")
    from_us, to_us = _time(request, "from"), _time(request, "to")
    if from_us is not None and to_us is not None and from_us >= to_us:
        raise ConfigError("SearchSightings: 'from' is not before 'to'")
    return SightingQuery(
        cameras=cameras,
        classes=tuple(sorted(set(request.classes))),
        least_score=request.least_score,
        from_us=from_us,
        to_us=to_us,
        region=_region(request.region) if request.HasField("region") else None,
        least_us=least.ToMicroseconds(),
        model=request.model,
    )


def _region(region: pb.Region) -> RelativeBox:
    edges = (region.left, region.top, region.right, region.bottom)
    inside = all(math.isfinite(edge) and 0 <= edge <= 1 for edge in edges)
    if not inside or region.left >= region.right or region.top >= region.bottom:
        raise ConfigError(
            f"SearchSightings: the region {edges} is none: give parts of the picture, 0 to 1, left before right"
        )
    return RelativeBox(*(round(edge * WHOLE) for edge in edges))


def _range(request: pb.GetActivityRequest | pb.ListBoxesRequest) -> tuple[int, int]:
    """Returns the time that a request is about, which has two ends.

    Raises:
        ConfigError: it has none.
    """
    name = request.DESCRIPTOR.name.removesuffix("Request")
    from_us, to_us = _time(request, "from"), _time(request, "to")
    if from_us is None or to_us is None or from_us >= to_us:
        raise ConfigError(f"{name}: give 'from' and a later 'to'")
    return from_us, to_us


def _time(request: Any, field: str) -> int | None:
    found = microseconds(request, field)
    return None if found is None else max(-_MOST_TIME_US, min(found, _MOST_TIME_US))


def _sighting(row: Any) -> pb.Sighting:
    union = RelativeBox(row.union_left, row.union_top, row.union_right, row.union_bottom)
    return pb.Sighting(
        camera=row.camera,
        class_name=row.class_name,
        model=row.model,
        start=timestamp(row.start_us),
        end=timestamp(row.end_us),
        frames=row.frames,
        best_score=row.best_score,
        best_frame=FrameId(row.camera, row.best_epoch, row.best_sequence).to_message(),
        best_time=timestamp(row.best_us),
        best_box=_parts(RelativeBox.unpack(row.best_box)),
        union_box=_parts(union),
        id=row.id,
    )


def _parts(box: RelativeBox) -> pb.Region:
    left, top, right, bottom = (edge / WHOLE for edge in box)
    return pb.Region(left=left, top=top, right=right, bottom=bottom)
