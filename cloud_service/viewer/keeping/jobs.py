"""``/jobs``: what works on the archive in the background, how far it is, and a form for a re-detection."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response

from cloud_service.viewer.accounts.notes import Notes
from cloud_service.viewer.accounts.roles import Visitor
from cloud_service.viewer.exports.jobs import ExportJobs
from cloud_service.viewer.exports.pages import CAMERA_FIELD, may_see
from cloud_service.viewer.keeping.fields import chosen_cameras, from_query, read_moment, read_number, us_of
from cloud_service.viewer.keeping.integrity import sees
from cloud_service.viewer.pages.cameras import names_of
from cloud_service.viewer.web.errors import status_of
from cloud_service.viewer.web.flash import redirect
from cloud_service.viewer.web.forms import read_form
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates
from icm.client.cloud import AsyncCloudClient
from icm.client.keeping.redetections import Redetection
from icm.errors import ConfigError, IcmError, NotFoundError

JOBS = "/jobs"
CHANGES = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}
"""What may become of a re-detection, and what the audit log calls that."""
_FIELDS = ("from", "to", "model", "every", "changed")
_MOST_SHOWN = 20
_MOST_EVERY = 1_000_000
_DIGITS = 18


@dataclass(frozen=True)
class JobPages:
    """For who operates.

    Attributes:
        cloud: has re-detections and verifications.
        exports: that the viewer has made.
        database: knows the cameras.
        templates: for the page.
        notes: of who began and ended what.
    """

    cloud: AsyncCloudClient
    exports: ExportJobs
    database: Engine
    templates: Templates
    notes: Notes

    def pages(self) -> list[Page]:
        """For the routes."""
        return [
            Page(JOBS, self._list, Right.OPERATE, ("GET", "POST")),
            Page(JOBS + "/redetections/{job}/{change}", self._change, Right.OPERATE, ("POST",)),
        ]

    async def _list(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        redetections, verifications = await asyncio.gather(self.cloud.redetections(), self.cloud.verifications())
        exports = [each for each in self.exports.all() if may_see(visitor, each)]
        values: dict[str, Any] = {
            "redetections": [each for each in redetections if _sees(visitor, each)][:_MOST_SHOWN],
            "verifications": [each for each in verifications if sees(visitor, each)][:_MOST_SHOWN],
            "exports": exports[:_MOST_SHOWN],
            "us": us_of,
        }
        # htmx asks again and again for what changes.
        if request.headers.get("hx-request") == "true":
            return self.templates.page(request, "keeping/jobs_state.html", **values)
        known, models = await asyncio.gather(asyncio.to_thread(names_of, self.database), self.cloud.weights())
        cameras, problem, status = visitor.visible(known), "", 200
        form = from_query(request.query_params, *_FIELDS)
        if request.method == "POST":
            form = await read_form(request)
            try:
                job = await self._add(visitor, form, cameras)
            except IcmError as error:
                problem, status = str(error), status_of(error)
            else:
                return redirect(JOBS, "redetection-added", str(job.id))
        values |= {"cameras": cameras, "models": models, "form": form, "problem": problem, "field": CAMERA_FIELD}
        return self.templates.page(request, "keeping/jobs.html", status, **values)

    async def _add(self, visitor: Visitor, form: dict[str, str], visible: list[str]) -> Redetection:
        cameras = chosen_cameras(form, visible)
        start, end = (read_moment(form, name, what) for name, what in (("from", "the start"), ("to", "the end")))
        every = read_number(form, "every", "the distance of frames", _MOST_EVERY) or 1
        if every != int(every):
            raise ConfigError("the distance of frames is a whole number: 1 for every frame")
        if not form.get("model"):
            raise ConfigError("choose the weights to look with")
        job = await self.cloud.redetect(
            cameras, form["model"], start=start, end=end, every=int(every), changed="changed" in form
        )
        await self.notes.did(visitor, "redetect", f"{job.id}: {' '.join(cameras)} by {job.model}")
        return job

    async def _change(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        text, change = request.path_params["job"], request.path_params["change"]
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else 0
        job = next((each for each in await self.cloud.redetections() if each.id == number), None)
        if job is None or not _sees(visitor, job) or change not in CHANGES:
            raise NotFoundError("there is no such re-detection")
        await self.cloud.change_redetection(number, change)
        await self.notes.did(visitor, f"redetection-{CHANGES[change]}", f"{number}: {' '.join(job.cameras)}")
        return redirect(JOBS, f"redetection-{CHANGES[change]}", str(number))


def _sees(visitor: Visitor, job: Redetection) -> bool:
    return all(map(visitor.sees, job.cameras)) and (bool(job.cameras) or visitor.sees_all)
