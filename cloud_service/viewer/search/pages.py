"""``/search`` and ``/review``, the small pictures on them, and what is marked as seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.resources import files
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud_service.database.damage import trouble
from cloud_service.database.statements import transaction, walking
from cloud_service.sightings.page_cursor import PageCursor
from cloud_service.sightings.search import SightingQuery
from cloud_service.viewer.accounts.notes import Notes
from cloud_service.viewer.accounts.roles import Visitor
from cloud_service.viewer.search.criteria import Criteria, read_criteria, region_text
from cloud_service.viewer.search.crops import Crops
from cloud_service.viewer.search.results import Found, Known, Results, find, find_unseen, known_to
from cloud_service.viewer.search.seen import mark, mark_all_before, rows_of
from cloud_service.viewer.web.forms import read_form
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates
from cloud_service.viewer.web.time_fields import field_text
from icm.client.cloud import AsyncCloudClient
from icm.errors import ConfigError, FrameDeletedError, NotFoundError, StorageError
from icm.service.clock import Clock

SEARCH, REVIEW = "/search", "/review"
_DELETED = files("cloud_service.viewer") / "static/deleted.svg"
_CROP = "/cameras/{camera}/sightings/{sighting}/crop.jpg"
_MOST_MARKED = 500
_DIGITS = 18
_FIELD_BYTES = 20_000
_KEPT = "private, max-age=3600"
_T = TypeVar("_T")


class SearchPages:
    """The pages about what was seen."""

    def __init__(
        self, *, database: Engine, cloud: AsyncCloudClient, templates: Templates, notes: Notes, clock: Clock
    ) -> None:
        """Searches nothing yet.

        Args:
            database: the cloud's.
            cloud: gives pictures.
            templates: for the pages.
            notes: of who searched for what.
            clock: for what counts as seen from now on.
        """
        self._database, self._templates, self._notes, self._clock = database, templates, notes, clock
        self._crops = Crops(lambda found: cloud.picture(found.frame))

    def pages(self) -> list[Page]:
        """For the routes."""
        return [
            Page(SEARCH, self._search, Right.VIEW),
            Page(REVIEW, self._review, Right.VIEW),
            Page(REVIEW + "/seen", self._mark, Right.VIEW, ("POST",)),
            Page(REVIEW + "/all", self._mark_all, Right.VIEW, ("POST",)),
            Page(_CROP, self._crop, Right.VIEW),
        ]

    async def _search(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        criteria, cursor = read_criteria(request.query_params), request.query_params.get("after", "")

        def read(connection: Connection) -> tuple[Known, Results]:
            known = known_to(connection, visitor.name)
            query = criteria.query(visitor, known.cameras)
            after = _after(cursor, query)
            counted = after is None and query.region is None
            return known, find(connection, query, after, visitor.name, known.seen_before_us, counted=counted)

        known, results = await self._ask(read)
        await self._notes.looked(visitor, "search", criteria.address() or "everything")
        return self._answer(request, "search.html", SEARCH, criteria, known, results)

    async def _review(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        criteria, cursor = read_criteria(request.query_params), request.query_params.get("after", "")

        def read(connection: Connection) -> tuple[Known, Results]:
            known = known_to(connection, visitor.name)
            begin = max(known.seen_before_us, criteria.from_us or 0)
            query = criteria.query(visitor, known.cameras)
            results = find_unseen(connection, query, _after(cursor, query), visitor.name)
            # In the order of the answer all that comes behind the first seen one is seen.
            unseen = [each for each in results.found if each.start_us >= begin]
            return known, Results(unseen, results.next if len(unseen) == len(results.found) else None)

        known, results = await self._ask(read)
        await self._notes.looked(visitor, "review", criteria.address() or "everything")
        return self._answer(request, "review.html", REVIEW, criteria, known, results, now=self._clock.now_us())

    def _answer(
        self,
        request: Request,
        template: str,
        path: str,
        criteria: Criteria,
        known: Known,
        results: Results,
        **more: Any,
    ) -> Response:
        visitor: Visitor = request.state.visitor
        asked = repr(criteria.query(visitor, known.cameras))
        onward = criteria.address(after=results.next.to_text(asked)) if results.next is not None else ""
        # htmx asks for what comes behind the last one that it has.
        is_part = request.headers.get("hx-request") == "true" and "after" in request.query_params
        return self._templates.page(
            request,
            "sightings.html" if is_part else template,
            criteria=criteria,
            cameras=visitor.visible(known.cameras),
            classes=known.classes,
            results=results,
            onward=f"{path}?{onward}" if onward else "",
            field_text=field_text,
            region_text=region_text,
            crop_of=_crop_path,
            **more,
        )

    async def _mark(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        form = await read_form(request)
        numbers, seen = _numbers(form.get("sightings", "")), form.get("seen", "1") == "1"

        def write(connection: Connection) -> None:
            rows = [row for row in rows_of(connection, numbers) if visitor.sees(row.camera)]
            mark(connection, visitor.name, rows, seen)

        await self._ask(write, transaction)
        return Response(status_code=204)

    async def _mark_all(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        text = (await read_form(request)).get("before", "")
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
            raise ConfigError("`before` is no time: load the page again")
        # What is yet to come is not seen.
        before_us = min(int(text), self._clock.now_us())
        await self._ask(lambda connection: mark_all_before(connection, visitor.name, before_us), transaction)
        return RedirectResponse(REVIEW, 303)

    async def _crop(self, request: Request) -> Response:
        camera, text = request.path_params["camera"], request.path_params["sighting"]
        rows = await self._ask(lambda connection: rows_of(connection, _numbers(text)))
        if len(rows) != 1 or rows[0].camera != camera:
            raise NotFoundError(f"camera {camera} has no sighting {text[:40]!r}")
        try:
            data = await self._crops.of(Found.of(rows[0], seen=False))
        except FrameDeletedError:
            # What was found outlives the records: a page says so in the picture's place.
            return Response(_DELETED.read_bytes(), media_type="image/svg+xml", headers={"cache-control": _KEPT})
        return Response(data, media_type="image/jpeg", headers={"cache-control": _KEPT})

    async def _ask(
        self,
        what: Callable[[Connection], _T],
        connect: Callable[[Engine], AbstractContextManager[Connection]] = walking,
    ) -> _T:
        """What a thread does with the database.

        Raises:
            StorageError: it cannot be used.
        """

        def within() -> _T:
            try:
                with connect(self._database) as connection:
                    return what(connection)
            except SQLAlchemyError as error:
                raise StorageError(f"the database does not answer: {trouble(error)}") from None

        return await asyncio.to_thread(within)


def _after(text: str, query: SightingQuery) -> PageCursor | None:
    return PageCursor.from_text(text, repr(query)) if text else None


def _numbers(text: str) -> list[int]:
    """Numbers of sightings, apart by commas.

    Raises:
        ConfigError: they are none, or too many.
    """
    parts = text[:_FIELD_BYTES].split(",")
    if len(parts) > _MOST_MARKED or not all(
        part.isascii() and part.isdigit() and len(part) <= _DIGITS for part in parts
    ):
        raise ConfigError(f"sightings are named by their numbers, {_MOST_MARKED} at most")
    return [int(part) for part in parts]


def _crop_path(found: Found) -> str:
    return _CROP.format(camera=found.camera, sighting=found.id)
