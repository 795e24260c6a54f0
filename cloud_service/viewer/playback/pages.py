"""The pages on which a camera's past is played: one camera, or several on one playhead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, select
from starlette.requests import Request
from starlette.responses import Response

from cloud_service.database.tables import CursorRow, RecordSegmentRow
from cloud_service.sightings.search import SightingQuery, search_sightings
from cloud_service.viewer.accounts.roles import Visitor, no_such_camera
from cloud_service.viewer.pages.cameras import newest_frames
from cloud_service.viewer.playback.answers import read_database
from cloud_service.viewer.playback.stored.windows import HOUR_US, SECOND_US, time_of
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates, stamp_text
from icm.errors import ConfigError
from icm.service.clock import Clock

WATCH = "/watch"
MOST_WATCHED = 8
_STEPS = (
    ("1 h back", -HOUR_US),
    ("1 min back", -60 * SECOND_US),
    ("10 s back", -10 * SECOND_US),
    ("10 s on", 10 * SECOND_US),
    ("1 min on", 60 * SECOND_US),
    ("1 h on", HOUR_US),
)
"""How far the links lead that stand in for a timeline where no scripts run."""
_SIGHTINGS = 50


class PlaybackPages:
    """The pages ``/cameras/{camera}`` and ``/watch``."""

    def __init__(self, database: Engine, templates: Templates, clock: Clock) -> None:
        """Reads from a database."""
        self._database, self._templates, self._clock = database, templates, clock

    def pages(self) -> list[Page]:
        """For the routes."""
        return [Page("/cameras/{camera}", self._camera, Right.VIEW), Page(WATCH, self._watch, Right.VIEW)]

    async def _camera(self, request: Request) -> Response:
        camera, asked_us = str(request.path_params["camera"]), time_of(request.query_params, "t")
        visitor: Visitor = request.state.visitor

        def read(connection: Connection) -> tuple[dict[str, int | None], int, list[Any]]:
            newest = newest_frames(connection)
            if camera not in newest:
                raise no_such_camera(camera)
            at_us = asked_us if asked_us is not None else self._begin(connection, [camera])
            query = SightingQuery(cameras=(camera,), from_us=at_us - HOUR_US, to_us=at_us + HOUR_US)
            return newest, at_us, search_sightings(connection, query, _SIGHTINGS, None).rows

        newest, at_us, sightings = await read_database(self._database, read)
        return self._templates.page(
            request,
            "camera.html",
            camera=camera,
            cameras=visitor.visible(sorted(newest)),
            at=stamp_text(at_us),
            newest=_text(newest[camera]),
            sightings=sightings,
            operates=visitor.may(Right.OPERATE),
            steps=[(text, stamp_text(max(0, at_us + by_us))) for text, by_us in _STEPS],
        )

    async def _watch(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        named = [name for text in request.query_params.getlist("cameras") for name in text.split(",") if name]
        wanted = list(dict.fromkeys(named))
        if len(wanted) > MOST_WATCHED:
            raise ConfigError(f"{len(wanted)} cameras are too many for one page: name {MOST_WATCHED} at most")
        asked_us = time_of(request.query_params, "t")

        def read(connection: Connection) -> tuple[dict[str, int | None], int]:
            newest = newest_frames(connection)
            for camera in wanted:
                visitor.check_sees(camera)
                if camera not in newest:
                    raise no_such_camera(camera)
            return newest, asked_us if asked_us is not None else self._begin(connection, wanted)

        newest, at_us = await read_database(self._database, read)
        times = [at for camera in wanted if (at := newest[camera]) is not None]
        return self._templates.page(
            request,
            "watch.html",
            wanted=wanted,
            most=MOST_WATCHED,
            cameras=visitor.visible(sorted(newest)),
            at=stamp_text(at_us),
            newest=_text(max(times, default=None)),
        )

    def _begin(self, connection: Connection, cameras: Sequence[str]) -> int:
        """Where a page begins that is told no time: with the newest segment, which can be played."""
        newest = (
            select(RecordSegmentRow.first_capture_us)
            .where(RecordSegmentRow.camera == CursorRow.camera)
            .order_by(RecordSegmentRow.number.desc())
            .limit(1)
            .scalar_subquery()
        )
        found = connection.scalars(select(newest).where(CursorRow.camera.in_(cameras)))
        return max((us for us in found if us is not None), default=self._clock.now_us())


def _text(us: int | None) -> str:
    return "" if us is None else stamp_text(us)
