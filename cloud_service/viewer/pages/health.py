"""How the viewer is: for people at ``/health``, for machines at ``/healthz`` of the metrics' listener."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from cloud_service.database.damage import trouble
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates, size_text
from icm.client.cloud import AsyncCloudClient
from icm.errors import IcmError
from icm.service.health import Problems

_CLOUD_SECONDS = 3.0
_LEAST_FREE_BYTES = 64 << 20


@dataclass(frozen=True)
class Part:
    """A part of the whole.

    Attributes:
        name: for a person.
        is_well: whether it works.
        text: what there is to say, for who administers.
    """

    name: str
    is_well: bool
    text: str


@dataclass(frozen=True)
class HealthPages:
    """Looks at the parts when asked.

    Attributes:
        database: of the cloud.
        cloud: over gRPC.
        folder: of accounts and the audit log.
        problems: that parts of the viewer reported.
        templates: for the page.
    """

    database: Engine
    cloud: AsyncCloudClient
    folder: Path
    problems: Problems
    templates: Templates

    def pages(self) -> list[Page]:
        """For the routes."""
        return [Page("/health", self._health, Right.VIEW)]

    def lines(self) -> list[str]:
        """What keeps the viewer from its work, a line each. A cloud that is away is not the viewer's ailment."""
        return [*self.problems.lines(), *(f"{part.name}: {part.text}" for part in self._own() if not part.is_well)]

    async def _health(self, request: Request) -> Response:
        own, cloud = await asyncio.gather(asyncio.to_thread(self._own), self._of_cloud())
        administers = request.state.visitor.may(Right.ADMINISTER)
        values = {"parts": [*own, cloud], "lines": self.problems.lines(), "administers": administers}
        return self.templates.page(request, "health.html", **values)

    def _own(self) -> list[Part]:
        parts = []
        try:
            with self.database.connect() as connection:
                connection.execute(text("SELECT 1"))
            parts.append(Part("database", True, self.database.dialect.name))
        except SQLAlchemyError as error:
            parts.append(Part("database", False, f"it cannot be read: {trouble(error)}"))
        try:
            free = shutil.disk_usage(self.folder).free
            parts.append(Part("accounts", free >= _LEAST_FREE_BYTES, f"{size_text(free)} free for them"))
        except OSError as error:
            parts.append(Part("accounts", False, f"{self.folder} cannot be used: {error.strerror}"))
        return parts

    async def _of_cloud(self) -> Part:
        try:
            async with asyncio.timeout(_CLOUD_SECONDS):
                cameras = await self.cloud.cameras()
        except TimeoutError:
            return Part("cloud", False, f"it has not answered within {_CLOUD_SECONDS:g} s")
        except IcmError as error:
            return Part("cloud", False, str(error))
        return Part("cloud", True, f"it has {len(cameras)} cameras")
