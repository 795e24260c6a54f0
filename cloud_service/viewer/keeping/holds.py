"""``/holds``: what must not be deleted, a form to hold more, and a way to let go of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response

from cloud_service.viewer.accounts.notes import Notes
from cloud_service.viewer.accounts.roles import Visitor
from cloud_service.viewer.exports.pages import CAMERA_FIELD
from cloud_service.viewer.keeping.fields import chosen_cameras, from_query, read_moment, read_number, us_of
from cloud_service.viewer.pages.cameras import names_of
from cloud_service.viewer.web.errors import status_of
from cloud_service.viewer.web.flash import redirect
from cloud_service.viewer.web.forms import read_form
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates
from icm.client.cloud import AsyncCloudClient
from icm.client.holds import Hold
from icm.errors import ConfigError, IcmError, NotFoundError, PermissionDeniedError

HOLDS = "/holds"
_FIELDS = ("from", "to", "reason", "expires", "budget", "within")
_MOST_SHOWN = 200
_MOST_GIGABYTES = 1e9
_MOST_REASON = 500


@dataclass(frozen=True)
class HoldPages:
    """For who operates.

    Attributes:
        cloud: has the holds.
        database: knows the cameras.
        templates: for the page.
        notes: of who held and released what.
    """

    cloud: AsyncCloudClient
    database: Engine
    templates: Templates
    notes: Notes

    def pages(self) -> list[Page]:
        """For the routes."""
        return [
            Page(HOLDS, self._list, Right.OPERATE, ("GET", "POST")),
            Page(HOLDS + "/{hold}/release", self._release, Right.OPERATE, ("POST",)),
        ]

    async def _list(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        ended = "ended" in request.query_params
        holds, known = await asyncio.gather(
            self.cloud.holds(everything=ended), asyncio.to_thread(names_of, self.database)
        )
        cameras, problem, status = visitor.visible(known), "", 200
        form = from_query(request.query_params, *_FIELDS)
        if request.method == "POST":
            form = await read_form(request)
            try:
                added = await self._add(visitor, form, cameras)
            except IcmError as error:
                problem, status = str(error), status_of(error)
            else:
                return redirect(HOLDS, "hold-added", added.id)
        seen = [hold for hold in reversed(holds) if _sees(visitor, hold)]
        return self.templates.page(
            request,
            "keeping/holds.html",
            status,
            holds=seen[:_MOST_SHOWN],
            more=len(seen) - _MOST_SHOWN,
            ended=ended,
            cameras=cameras,
            form=form,
            problem=problem,
            field=CAMERA_FIELD,
            us=us_of,
            may_release=lambda hold: _may_release(visitor, hold),
        )

    async def _add(self, visitor: Visitor, form: dict[str, str], visible: list[str]) -> Hold:
        cameras = chosen_cameras(form, visible)
        start, end = (read_moment(form, name, what) for name, what in (("from", "the start"), ("to", "the end")))
        if start is None or end is None:
            raise ConfigError("say when the hold begins and ends")
        if start >= end:
            raise ConfigError("the hold ends before it begins: choose a later end")
        reason = form.get("reason", "").strip()
        if not reason or len(reason) > _MOST_REASON:
            raise ConfigError(f"say why it is held, in 1 to {_MOST_REASON} characters")
        budget = read_number(form, "budget", "the budget", _MOST_GIGABYTES)
        hold = await self.cloud.add_hold(
            start,
            end,
            owner=visitor.name,
            reason=reason,
            cameras=cameras,
            expires=read_moment(form, "expires", "the expiry"),
            within_max_age="within" in form,
            max_bytes=0 if budget is None else max(1, round(budget * 1e9)),
        )
        await self.notes.did(visitor, "hold", _about(hold))
        return hold

    async def _release(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        name = request.path_params["hold"]
        hold = next((hold for hold in await self.cloud.holds() if hold.id == name), None)
        if hold is None or not _sees(visitor, hold):
            raise NotFoundError("there is no such hold: it may be released already, or have expired")
        if not _may_release(visitor, hold):
            raise PermissionDeniedError(f"this hold is {hold.owner}'s: they or who administers can release it")
        await self.cloud.release_hold(name, visitor.name)
        await self.notes.did(visitor, "hold-released", _about(hold))
        return redirect(HOLDS, "hold-released", name)


def _sees(visitor: Visitor, hold: Hold) -> bool:
    return all(map(visitor.sees, hold.cameras)) if hold.cameras else visitor.sees_all


def _may_release(visitor: Visitor, hold: Hold) -> bool:
    """Their own; others' is for who administers, as it may be held for somebody outside."""
    return hold.released is None and (hold.owner == visitor.name or visitor.may(Right.ADMINISTER))


def _about(hold: Hold) -> str:
    cameras = " ".join(hold.cameras) or "all cameras"
    return f"{hold.id}: {cameras}, {us_of(hold.start)} to {us_of(hold.end)}"
