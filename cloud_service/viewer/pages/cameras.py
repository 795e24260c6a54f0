"""The list of cameras, with the time of the last frame of each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from cloud_service.database.damage import trouble
from cloud_service.database.tables import CursorRow, RecordSegmentRow
from cloud_service.database.usage_tables import UsageRow
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates
from icm.errors import StorageError


@dataclass(frozen=True)
class ListedCamera:
    """A camera as the list shows it.

    Attributes:
        name: of the camera.
        last_us: capture time of the newest frame in a segment that is done with, microseconds since 1970; None where
            there is none.
        record_bytes: of its records.
        video_bytes: of its videos.
    """

    name: str
    last_us: int | None
    record_bytes: int
    video_bytes: int


class CameraPages:
    """The page at ``/cameras``."""

    def __init__(self, database: Engine, templates: Templates) -> None:
        """Reads from a database."""
        self._database, self._templates = database, templates

    def pages(self) -> list[Page]:
        """For the routes."""
        return [Page("/cameras", self._list, Right.VIEW)]

    async def _list(self, request: Request) -> Response:
        cameras = await asyncio.to_thread(cameras_of, self._database)
        seen = [camera for camera in cameras if request.state.visitor.sees(camera.name)]
        return self._templates.page(request, "cameras.html", cameras=seen)


def names_of(database: Engine) -> list[str]:
    """The names of all cameras that have sent something.

    Raises:
        StorageError: the database cannot be used.
    """
    try:
        with database.connect() as connection:
            return sorted(connection.scalars(select(CursorRow.camera)))
    except SQLAlchemyError as error:
        raise StorageError(f"the database cannot be read: {trouble(error)}") from None


def newest_frames(connection: Connection) -> dict[str, int | None]:
    """Of each camera, the capture time of the newest frame in a segment that is done with, microseconds since 1970;
    None where there is none.
    """
    newest = (
        select(RecordSegmentRow.last_capture_us)
        .where(RecordSegmentRow.camera == CursorRow.camera)
        .order_by(RecordSegmentRow.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    return {camera: us for camera, us in connection.execute(select(CursorRow.camera, newest))}


def cameras_of(database: Engine) -> list[ListedCamera]:
    """All cameras that the database knows, by name.

    Raises:
        StorageError: it cannot be used.
    """
    try:
        with database.connect() as connection:
            last = newest_frames(connection)
            used = connection.execute(select(UsageRow.camera, UsageRow.tier, UsageRow.bytes)).all()
    except SQLAlchemyError as error:
        raise StorageError(f"the database cannot be read: {trouble(error)}") from None
    sizes = {(camera, tier): size for camera, tier, size in used}
    names = sorted({*last, *(camera for camera, _, _ in used)})
    return [
        ListedCamera(name, last.get(name), sizes.get((name, "records"), 0), sizes.get((name, "video"), 0))
        for name in names
    ]
