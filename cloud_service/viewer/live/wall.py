"""The page at ``/``: all cameras that the visitor sees, live."""

from __future__ import annotations

import asyncio

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response

from cloud_service.viewer.pages.cameras import cameras_of
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates


class WallPage:
    """The wall."""

    def __init__(self, database: Engine, templates: Templates) -> None:
        """Reads the cameras' names from a database."""
        self._database, self._templates = database, templates

    def pages(self) -> list[Page]:
        """For the routes."""
        return [Page("/", self._wall, Right.VIEW)]

    async def _wall(self, request: Request) -> Response:
        cameras = await asyncio.to_thread(cameras_of, self._database)
        seen = request.state.visitor.visible(camera.name for camera in cameras)
        return self._templates.page(request, "wall.html", cameras=seen)
