"""The page at ``/``: the cameras that the visitor sees, live, all or a group, and the newest sightings of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from cloud_service.database.damage import trouble
from cloud_service.database.statements import walking
from cloud_service.database.tables import CursorRow
from cloud_service.sightings.search import SightingQuery, search_sightings
from cloud_service.viewer.accounts.roles import Visitor
from cloud_service.viewer.search.results import Found
from cloud_service.viewer.settings import CameraGroup
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates
from icm.errors import NotFoundError, StorageError

NEWEST = "/newest"
_MOST_NEWEST = 20


@dataclass(frozen=True)
class _Shown:
    """What the wall shows.

    Attributes:
        cameras: by name.
        groups: names of the groups of which the visitor sees a camera.
        newest: sightings, the latest begun first.
    """

    cameras: list[str]
    groups: list[str]
    newest: list[Found]


class WallPage:
    """The wall."""

    def __init__(self, database: Engine, templates: Templates, groups: Sequence[CameraGroup]) -> None:
        """Reads cameras and sightings from a database."""
        self._database, self._templates = database, templates
        self._groups = {group.name: tuple(group.cameras) for group in groups}

    def pages(self) -> list[Page]:
        """For the routes."""
        return [Page("/", self._wall, Right.VIEW), Page(NEWEST, self._newest, Right.VIEW)]

    async def _wall(self, request: Request) -> Response:
        group, shown = await self._shown(request)
        return self._templates.page(
            request, "wall.html", cameras=shown.cameras, groups=shown.groups, group=group, newest=shown.newest
        )

    async def _newest(self, request: Request) -> Response:
        _, shown = await self._shown(request)
        return self._templates.page(request, "newest.html", newest=shown.newest)

    async def _shown(self, request: Request) -> tuple[str, _Shown]:
        visitor: Visitor = request.state.visitor
        group = request.query_params.get("group", "")
        if group and group not in self._groups:
            raise NotFoundError(f"there is no group of cameras {group[:80]!r}: the wall names those that there are")

        def read() -> _Shown:
            try:
                with walking(self._database) as connection:
                    return self._read(connection, visitor, group)
            except SQLAlchemyError as error:
                raise StorageError(f"the database does not answer: {trouble(error)}") from None

        return group, await asyncio.to_thread(read)

    def _read(self, connection: Connection, visitor: Visitor, group: str) -> _Shown:
        seen = visitor.visible(sorted(connection.scalars(select(CursorRow.camera))))
        groups = [name for name, patterns in self._groups.items() if _of(patterns, seen)]
        cameras = _of(self._groups[group], seen) if group else seen
        query = SightingQuery(cameras=None if visitor.sees_all and not group else tuple(cameras))
        page = search_sightings(connection, query, _MOST_NEWEST, None)
        return _Shown(cameras, groups, [Found.of(row, seen=False) for row in page.rows])


def _of(patterns: Sequence[str], cameras: Sequence[str]) -> list[str]:
    return [camera for camera in cameras if any(fnmatchcase(camera, pattern) for pattern in patterns)]
