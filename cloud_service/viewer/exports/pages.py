"""``/exports``: a form, what there is, one export with how far it is, its file, and its check."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from cloud_service.viewer.accounts.notes import Notes
from cloud_service.viewer.accounts.roles import Visitor
from cloud_service.viewer.exports.jobs import ExportJobs
from cloud_service.viewer.exports.links import ShareLinks
from cloud_service.viewer.exports.record import Export, State
from cloud_service.viewer.pages.cameras import cameras_of
from cloud_service.viewer.web.errors import status_of
from cloud_service.viewer.web.flash import redirect
from cloud_service.viewer.web.forms import read_form
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates
from cloud_service.viewer.web.time_fields import read_time
from icm.errors import ConfigError, IcmError, NotFoundError
from icm.service.clock import Clock

EXPORTS = "/exports"
CAMERA_FIELD = "camera-"
_MOST_CASE = 500


@dataclass(frozen=True)
class ExportPages:
    """For who operates.

    Attributes:
        jobs: all exports.
        links: for others.
        database: knows the cameras.
        templates: for the pages.
        notes: of who exported, fetched, checked and deleted what.
        clock: for links.
    """

    jobs: ExportJobs
    links: ShareLinks
    database: Engine
    templates: Templates
    notes: Notes
    clock: Clock

    def pages(self) -> list[Page]:
        """For the routes."""
        one = EXPORTS + "/{export}"
        return [
            Page(EXPORTS, self._list, Right.OPERATE, ("GET", "POST")),
            Page(one, self._show, Right.OPERATE),
            Page(one + "/case.zip", self._download, Right.OPERATE),
            Page(one + "/verify", self._verify, Right.OPERATE, ("POST",)),
            Page(one + "/delete", self._delete, Right.OPERATE, ("POST",)),
            Page("/shared/{export}/{expires}/{signature}", self._shared, Right.PUBLIC),
        ]

    async def _list(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        known = [camera.name for camera in await asyncio.to_thread(cameras_of, self.database)]
        cameras, problem, status = visitor.visible(known), "", 200
        form = {name: value for name, value in request.query_params.items() if name in ("from", "to", "case")}
        form |= {CAMERA_FIELD + name: "on" for name in request.query_params.getlist("camera")}
        if request.method == "POST":
            form = await read_form(request)
            try:
                export = await self._add(visitor, form, cameras)
            except IcmError as error:
                problem, status = str(error), status_of(error)
            else:
                return redirect(f"{EXPORTS}/{export.id}")
        exports = [each for each in self.jobs.all() if may_see(visitor, each)]
        return self.templates.page(
            request, "exports.html", status, cameras=cameras, exports=exports, form=form, problem=problem,
            field=CAMERA_FIELD,
        )  # fmt: skip

    async def _add(self, visitor: Visitor, form: dict[str, str], cameras: list[str]) -> Export:
        chosen = [camera for camera in cameras if CAMERA_FIELD + camera in form]
        if not chosen:
            raise ConfigError("choose at least one camera")
        from_us, to_us = (
            read_time(form.get(name, ""), what) for name, what in (("from", "the start"), ("to", "the end"))
        )
        if from_us >= to_us:
            raise ConfigError("the export ends before it begins: choose a later end")
        case = form.get("case", "").strip()
        if not case or len(case) > _MOST_CASE:
            raise ConfigError(f"say what the case is about, in 1 to {_MOST_CASE} characters")
        export = await self.jobs.add(owner=visitor.name, cameras=chosen, from_us=from_us, to_us=to_us, case=case)
        await self.notes.did(visitor, "export", _about(export))
        return export

    async def _show(self, request: Request) -> Response:
        export = self._of(request)
        values: dict[str, Any] = {
            "export": export,
            "expires_us": self.jobs.expires_us(export),
            "link": self.links.path_of(export.id, self.jobs.expires_us(export)) if export.state is State.DONE else "",
        }
        # htmx asks again and again for what changes.
        part = request.headers.get("hx-request") == "true"
        return self.templates.page(request, "export_state.html" if part else "export.html", **values)

    async def _download(self, request: Request) -> Response:
        export = self._of(request)
        await self.notes.did(request.state.visitor, "export-fetched", _about(export))
        return self._file(export)

    async def _verify(self, request: Request) -> Response:
        export = self._of(request)
        await self.jobs.check(export.id)
        await self.notes.did(request.state.visitor, "export-checked", export.id)
        return redirect(f"{EXPORTS}/{export.id}")

    async def _delete(self, request: Request) -> Response:
        export = self._of(request)
        await self.jobs.remove(export.id)
        await self.notes.did(request.state.visitor, "export-deleted", _about(export))
        return redirect(EXPORTS, "export-deleted")

    async def _shared(self, request: Request) -> Response:
        named = request.path_params
        self.links.check(named["export"], named["expires"], named["signature"], self.clock.now_us())
        export = self.jobs.get(named["export"])
        await self.notes.write("somebody with a link", request.state.address, "export-fetched", _about(export))
        return self._file(export)

    def _file(self, export: Export) -> Response:
        path = self.jobs.file(export)
        if export.state is not State.DONE or not path.exists():
            raise NotFoundError("this export has no file: it is not done, or its file is gone")
        headers = {"cache-control": "private, no-store"}
        return FileResponse(path, media_type="application/zip", filename=f"case-{export.id}.zip", headers=headers)

    def _of(self, request: Request) -> Export:
        export = self.jobs.get(request.path_params["export"])
        if not may_see(request.state.visitor, export):
            raise NotFoundError("there is no such export: it may have expired")
        return export


def may_see(visitor: Visitor, export: Export) -> bool:
    """Own ones, and for who administers all; of cameras that one sees no more, none."""
    mine = export.owner == visitor.name or visitor.may(Right.ADMINISTER)
    return mine and all(visitor.sees(camera) for camera in export.cameras)


def _about(export: Export) -> str:
    return f"{export.id}: {' '.join(export.cameras)}, {export.from_us} to {export.to_us}"
