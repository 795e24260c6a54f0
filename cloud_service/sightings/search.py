"""Sightings by class, score, cameras, time, place and duration, the latest begun first.

Every statement walks an index of ``sightings`` in the order of the answer: one for each pair of camera and class that
is asked for, merged by the database. What no index says is a filter, and so that a filter nothing passes cannot go
through years, each page looks at a bounded number of sightings: those whose ``id`` is a multiple of ``_MARK_EVERY``
come out whatever they are, and after ``_MARKS`` of them the page ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select, tuple_, union_all

from cloud_service.database.sightings_tables import BoxesRow, SightingRow
from cloud_service.events.packed_boxes import Boxes, unpack
from cloud_service.sightings.linking import LONGEST_US
from cloud_service.sightings.page_cursor import PageCursor
from cloud_service.sightings.relative_boxes import WHOLE, RelativeBox

MOST_COUNTED = 1000
_MARK_EVERY, _MARKS = 4096, 8
_MOST_UNPACKED = 200
"""Rows of packed boxes that a page is looked up in for a region; the sighting that is being decided is finished."""
_MOST_BRANCHES = 64
"""Pairs of camera and class that each get an index walk of their own."""


@dataclass(frozen=True)
class SightingQuery:
    """What to search for.

    Attributes:
        cameras: of one of these; None for any.
        classes: of one of these; empty for any.
        least_score: at least so sure in its best frame.
        from_us: ends at or after this, microseconds since 1970; None for the oldest on.
        to_us: begins before this; None for up to the newest.
        region: one of its boxes touches this; None for anywhere.
        least_us: lasts at least so long.
        model: of this detector; empty for any.
    """

    cameras: tuple[str, ...] | None = None
    classes: tuple[str, ...] = ()
    least_score: float = 0.0
    from_us: int | None = None
    to_us: int | None = None
    region: RelativeBox | None = None
    least_us: int = 0
    model: str = ""


@dataclass(frozen=True)
class Page:
    """Rows of ``sightings``, and where to go on; None at the end."""

    rows: list[Any]
    next: PageCursor | None


def search_sightings(connection: Connection, query: SightingQuery, limit: int, after: PageCursor | None) -> Page:
    """A page of at most ``limit`` sightings that come behind ``after``."""
    if query.cameras == ():
        return Page([], None)
    most = limit + _MARKS + 1
    rows = connection.execute(statement(query, most, after)).all()
    finder = _Finder(connection, query.region) if query.region is not None else None
    found: list[Any] = []
    marks = 0
    for place, row in enumerate(rows):
        if len(found) == limit or (finder is not None and finder.unpacked >= _MOST_UNPACKED):
            last = rows[place - 1]
            return Page(found, PageCursor(last.start_us, last.id))
        if not _passes(row, query):
            marks += 1
        elif finder is None or finder.touches(row):
            found.append(row)
        if marks > _MARKS:
            return Page(found, PageCursor(row.start_us, row.id))
    more = len(rows) == most
    return Page(found, PageCursor(rows[-1].start_us, rows[-1].id) if more else None)


def count_sightings(connection: Connection, query: SightingQuery) -> tuple[int, bool]:
    """How many sightings there are, up to ``MOST_COUNTED``, wherever in the picture; whether there may be more."""
    if query.cameras == ():
        return 0, False
    most = MOST_COUNTED + _MARKS + 1
    rows = connection.execute(statement(query, most, None)).all()
    count = sum(_passes(row, query) for row in rows)
    return min(count, MOST_COUNTED), len(rows) == most or count > MOST_COUNTED


def statement(query: SightingQuery, limit: int, after: PageCursor | None) -> Select[Any] | Any:
    """The first ``limit`` rows behind ``after`` that pass, and those that come out whatever they are."""
    table = SightingRow.__table__
    branches = [select(table).where(*ends, *_bounds(query, after)) for ends in _branches(query)]
    order = (table.c.start_us.desc(), table.c.id.desc())
    if len(branches) == 1:
        return branches[0].order_by(*order).limit(limit)
    merged = union_all(*branches).subquery()
    return select(merged).order_by(merged.c.start_us.desc(), merged.c.id.desc()).limit(limit)


def _branches(query: SightingQuery) -> list[list[ColumnElement[bool]]]:
    """Conditions that together choose the cameras and classes, each of which begins an index."""
    columns = SightingRow.__table__.c
    cameras: Sequence[str | None] = query.cameras if query.cameras is not None else (None,)
    classes: Sequence[str | None] = query.classes or (None,)
    if len(cameras) * len(classes) > _MOST_BRANCHES:
        # So many of one that most rows of the other pass.
        if len(cameras) >= len(classes):
            cameras = (None,)
        else:
            classes = (None,)
    return [
        [
            *([columns.camera == camera] if camera is not None else []),
            *([columns.class_name == name] if name is not None else []),
        ]
        for camera, name in product(cameras, classes)
    ]


def _bounds(query: SightingQuery, after: PageCursor | None) -> list[ColumnElement[bool]]:
    columns = SightingRow.__table__.c
    bounds: list[ColumnElement[bool]] = []
    filters: list[ColumnElement[bool]] = []
    if query.from_us is not None:
        bounds.append(columns.start_us >= query.from_us - LONGEST_US)
        filters.append(columns.end_us >= query.from_us)
    if query.to_us is not None:
        bounds.append(columns.start_us < query.to_us)
    if after is not None:
        bounds.append(tuple_(columns.start_us, columns.id) < tuple_(after.start_us, after.id))
    if query.cameras is not None and len(query.cameras) * max(1, len(query.classes)) > _MOST_BRANCHES:
        filters += [
            columns.camera.in_(query.cameras),
            *([columns.class_name.in_(query.classes)] if query.classes else []),
        ]
    if query.least_score > 0:
        filters.append(columns.best_score >= query.least_score)
    if query.least_us > 0:
        filters.append(columns.end_us - columns.start_us >= query.least_us)
    if query.model:
        filters.append(columns.model == query.model)
    if query.region is not None:
        left, top, right, bottom = query.region
        filters += [columns.union_left <= right, columns.union_right >= left]
        filters += [columns.union_top <= bottom, columns.union_bottom >= top]
    if filters:
        bounds.append(or_(and_(*filters), columns.id % _MARK_EVERY == 0))
    return bounds


def _passes(row: Any, query: SightingQuery) -> bool:
    """Whether a row is there for what it is, and not as a mark."""
    region = query.region
    if region is not None:
        across = row.union_left <= region.right and row.union_right >= region.left
        if not (across and row.union_top <= region.bottom and row.union_bottom >= region.top):
            return False
    return bool(
        (query.cameras is None or row.camera in query.cameras)
        and (not query.classes or row.class_name in query.classes)
        and (query.from_us is None or row.end_us >= query.from_us)
        and row.best_score >= query.least_score
        and row.end_us - row.start_us >= query.least_us
        and query.model in ("", row.model)
    )


class _Finder:
    """Looks in packed boxes whether a sighting was in a part of the picture.

    Attributes:
        unpacked: how many rows it read.
    """

    def __init__(self, connection: Connection, region: RelativeBox) -> None:
        self._connection, self._region = connection, region
        self._known: dict[tuple[str, str, int], tuple[Boxes, int, int]] = {}
        self.unpacked = 0

    def touches(self, row: Any) -> bool:
        """Whether one of the sighting's boxes touches the region; the union of all of them does."""
        best = RelativeBox.unpack(row.best_box)
        if _overlap(best, self._region):
            return True
        number = row.first_segment
        while number <= row.last_segment:
            known = self._known.get((row.camera, row.model, number))
            if known is None:
                number = self._read(row.camera, row.model, number, row.last_segment)
                if number > row.last_segment:
                    return False
                known = self._known[row.camera, row.model, number]
            if self._within(row.id, *known):
                return True
            number += 1
        return False

    def _read(self, camera: str, model: str, number: int, last: int) -> int:
        """Reads the next row from a number on; returns its number, or one behind the last."""
        query = (
            select(BoxesRow.number, BoxesRow.width, BoxesRow.height, BoxesRow.data)
            .where(BoxesRow.camera == camera, BoxesRow.number.between(number, last), BoxesRow.model == model)
            .order_by(BoxesRow.number)
            .limit(1)
        )
        found = self._connection.execute(query).first()
        if found is None:
            return last + 1
        self.unpacked += 1
        self._known[camera, model, found.number] = unpack(found.data), found.width, found.height
        return int(found.number)

    def _within(self, sighting: int, boxes: Boxes, width: int, height: int) -> bool:
        scale = np.array([width, height] * 2) / WHOLE
        left, top, right, bottom = np.array(self._region) * scale
        edges = boxes.edges[boxes.sightings == sighting]
        across = (edges[:, 0] <= right) & (edges[:, 2] >= left)
        return bool((across & (edges[:, 1] <= bottom) & (edges[:, 3] >= top)).any())


def _overlap(box: RelativeBox, other: RelativeBox) -> bool:
    across = box.left <= other.right and box.right >= other.left
    return across and box.top <= other.bottom and box.bottom >= other.top
