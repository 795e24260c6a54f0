"""``/integrity``: the chains' newest heads, what the last verification of each camera said, and a form for one more."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from cloud_service.database.damage import trouble
from cloud_service.database.proof_tables import ChainRow
from cloud_service.viewer.accounts.notes import Notes
from cloud_service.viewer.accounts.roles import Visitor
from cloud_service.viewer.exports.pages import CAMERA_FIELD
from cloud_service.viewer.keeping.fields import chosen_cameras, from_query, read_moment, us_of
from cloud_service.viewer.pages.cameras import names_of
from cloud_service.viewer.web.errors import status_of
from cloud_service.viewer.web.flash import redirect
from cloud_service.viewer.web.forms import read_form
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates
from icm.client.cloud import AsyncCloudClient
from icm.client.keeping.verifications import CameraReport, Verification
from icm.errors import ConfigError, IcmError, NotFoundError, ProofError, StorageError
from icm.proof.chain import Head

INTEGRITY = "/integrity"
_ONE = INTEGRITY + "/{verification}"
_FIELDS = ("from", "to", "witnesses", "deep")
_MOST_WITNESSES = 1000


@dataclass(frozen=True)
class ChainedCamera:
    """A camera as the page shows it.

    Attributes:
        name: of the camera.
        head: the newest of its chain; None where there is none yet.
        head_line: the same, as heads.txt has it.
        verification: the last one that has a report of it; None if none has.
        report: that.
    """

    name: str
    head: Head | None
    head_line: str
    verification: Verification | None
    report: CameraReport | None


@dataclass(frozen=True)
class IntegrityPages:
    """For who operates.

    Attributes:
        cloud: verifies.
        database: knows the cameras, and the newest heads.
        templates: for the pages.
        notes: of who had what verified.
    """

    cloud: AsyncCloudClient
    database: Engine
    templates: Templates
    notes: Notes

    def pages(self) -> list[Page]:
        """For the routes."""
        return [
            Page(INTEGRITY, self._list, Right.OPERATE, ("GET", "POST")),
            Page(_ONE, self._show, Right.OPERATE),
            Page(_ONE + "/cancel", self._cancel, Right.OPERATE, ("POST",)),
        ]

    async def _list(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        verifications, known, heads = await asyncio.gather(
            self.cloud.verifications(),
            asyncio.to_thread(names_of, self.database),
            asyncio.to_thread(heads_of, self.database),
        )
        names = visitor.visible(sorted({*known, *heads}))
        problem, status = "", 200
        form = from_query(request.query_params, *_FIELDS)
        if request.method == "POST":
            form = await read_form(request)
            try:
                started = await self._start(visitor, form, names)
            except IcmError as error:
                problem, status = str(error), status_of(error)
            else:
                return redirect(f"{INTEGRITY}/{started.id}")
        return self.templates.page(
            request,
            "keeping/integrity.html",
            status,
            cameras=[_camera(name, heads.get(name, ""), verifications) for name in names],
            names=names,
            form=form,
            problem=problem,
            field=CAMERA_FIELD,
            us=us_of,
            unsound=_unsound,
        )

    async def _start(self, visitor: Visitor, form: dict[str, str], visible: Sequence[str]) -> Verification:
        cameras = chosen_cameras(form, visible)
        witnesses = [line.strip() for line in form.get("witnesses", "").splitlines() if line.strip()]
        if len(witnesses) > _MOST_WITNESSES:
            raise ConfigError(f"{len(witnesses)} heads are too many for this page: paste the newest {_MOST_WITNESSES}")
        started = await self.cloud.verify(
            cameras,
            by=visitor.name,
            deep="deep" in form,
            start=read_moment(form, "from", "the start"),
            end=read_moment(form, "to", "the end"),
            witnesses=witnesses,
        )
        await self.notes.did(visitor, "verify", f"{started.id}: {' '.join(cameras)}")
        return started

    async def _show(self, request: Request) -> Response:
        verification = await self._of(request)
        part = request.headers.get("hx-request") == "true"
        return self.templates.page(
            request,
            "keeping/verification_state.html" if part else "keeping/verification.html",
            verification=verification,
            us=us_of,
            unsound=_unsound,
        )

    async def _cancel(self, request: Request) -> Response:
        verification = await self._of(request)
        await self.cloud.cancel_verification(verification.id)
        await self.notes.did(request.state.visitor, "verify-cancelled", verification.id)
        return redirect(f"{INTEGRITY}/{verification.id}")

    async def _of(self, request: Request) -> Verification:
        name = request.path_params["verification"]
        found = next((each for each in await self.cloud.verifications() if each.id == name), None)
        if found is None or not sees(request.state.visitor, found):
            raise NotFoundError("there is no such verification: the last hundred are kept")
        return found


def sees(visitor: Visitor, verification: Verification) -> bool:
    """Whether a visitor sees all that a verification is about."""
    return all(map(visitor.sees, verification.cameras))


def heads_of(database: Engine) -> Mapping[str, str]:
    """The newest head of each camera's chain, as heads.txt has it.

    Raises:
        StorageError: the database cannot be used.
    """
    try:
        with database.connect() as connection:
            return {camera: head for camera, head in connection.execute(select(ChainRow.camera, ChainRow.head))}
    except SQLAlchemyError as error:
        raise StorageError(f"the database cannot be read: {trouble(error)}") from None


def _camera(name: str, line: str, verifications: Sequence[Verification]) -> ChainedCamera:
    head = None
    try:
        head = Head.of(line.encode()) if line else None
    except ProofError:
        line = ""
    for each in verifications:
        for report in each.reports:
            if report.camera == name:
                return ChainedCamera(name, head, line, each, report)
    return ChainedCamera(name, head, line, None, None)


def _unsound(report: CameraReport) -> dict[str, int]:
    """How many segments are not as they were sealed, by what became of them."""
    return {status.lower(): count for status, count in report.segments.items() if status.isupper() and count}
