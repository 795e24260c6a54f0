"""Sightings by class, score, cameras, time, place and duration, the latest begun first.

Every statement walks an index of ``sightings`` in the order of the answer: one for each pair of camera and class that
is asked for, merged by the database. What no index says is a filter, and so that a filter nothing passes cannot go
through years, a page looks at ``_LOOKED_AT`` sightings at most: a first statement finds when the last of them began,
from an index alone, and the page ends there. Connections are those of ``database.statements.walking``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Select, func, select, tuple_, union_all

from cloud_service.database.sightings_tables import BoxesRow, SightingRow
from cloud_service.events.packed_boxes import Boxes, unpack
from cloud_service.sightings.linking import LONGEST_US
from cloud_service.sightings.page_cursor import PageCursor
from cloud_service.sightings.relative_boxes import WHOLE, RelativeBox

MOST_COUNTED = 1000
_LOOKED_AT = 16_384
"""Sightings that a page looks at where something has to be asked of each; and those that began at that very time."""
_CANDIDATES = 200
"""Sightings around a region, of which a page finds out whether they were in it."""
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
    walk = _Walk(connection, query, after)
    end_us = walk.find_end(connection)
    most = limit if query.region is None else max(limit, _CANDIDATES)
    rows = connection.execute(walk.rows(end_us, most + 1)).all()
    found, last = rows[:most], most - 1
    if query.region is not None:
        found, last = _within(connection, query.region, found, limit)
    if last < len(rows) - 1:
        return Page(list(found), PageCursor(rows[last].start_us, rows[last].id))
    return Page(list(found), PageCursor(end_us, 0) if end_us is not None else None)


def count_sightings(connection: Connection, query: SightingQuery) -> tuple[int, bool]:
    """How many sightings there are, up to ``MOST_COUNTED``, wherever in the picture; whether there may be more."""
    if query.cameras == ():
        return 0, False
    walk = _Walk(connection, query, None)
    end_us = walk.find_end(connection)
    some = walk.rows(end_us, MOST_COUNTED + 1, SightingRow.start_us, SightingRow.id).subquery()
    count = connection.scalar(select(func.count()).select_from(some)) or 0
    return min(count, MOST_COUNTED), end_us is not None or count > MOST_COUNTED


class _Walk:
    """Statements of a search from a cursor on."""

    def __init__(self, connection: Connection, query: SightingQuery, after: PageCursor | None) -> None:
        # PostgreSQL merges what is in order by itself, SQLite what it can bring in order.
        self._sorts_branches = connection.dialect.name == "postgresql"
        columns = SightingRow.__table__.c
        self._bounds: list[ColumnElement[bool]] = []
        if query.from_us is not None:
            self._bounds.append(columns.start_us >= query.from_us - LONGEST_US)
        if query.to_us is not None:
            self._bounds.append(columns.start_us < query.to_us)
        if after is not None:
            self._bounds.append(tuple_(columns.start_us, columns.id) < tuple_(after.start_us, after.id))
        self._branches, filters = _branches(query)
        self._filters = [*filters, *_filters(query)]

    def find_end(self, connection: Connection) -> int | None:
        """When the last sighting began that a page looks at; None if it looks at all that there are."""
        if not self._filters:
            return None
        some = self._ordered((), _LOOKED_AT, (SightingRow.start_us, SightingRow.id)).subquery()
        count, end_us = connection.execute(select(func.count(), func.min(some.c.start_us))).one()
        return end_us if count == _LOOKED_AT else None

    def rows(self, end_us: int | None, limit: int, *only: Any) -> Select[Any]:
        """The first ``limit`` rows that pass and began at ``end_us`` or later; these columns of them, or all."""
        bounds = [SightingRow.start_us >= end_us] if end_us is not None else []
        return self._ordered([*bounds, *self._filters], limit, only or (SightingRow.__table__,))

    def _ordered(self, more: Iterable[ColumnElement[bool]], limit: int, columns: Sequence[Any]) -> Select[Any]:
        branches = [select(*columns).where(*ends, *self._bounds, *more) for ends in self._branches]
        if len(branches) == 1:
            return _newest(branches[0], limit)
        if self._sorts_branches:
            branches = [_newest(branch, limit) for branch in branches]
        return _newest(select(union_all(*branches).subquery()), limit)


def _newest(query: Select[Any], limit: int) -> Select[Any]:
    start_us, number = (query.selected_columns[name] for name in ("start_us", "id"))
    return query.order_by(start_us.desc(), number.desc()).limit(limit)


def _branches(query: SightingQuery) -> tuple[list[list[ColumnElement[bool]]], list[ColumnElement[bool]]]:
    """Conditions of which each begins an index, and what those leave of cameras and classes to be asked."""
    columns = SightingRow.__table__.c
    cameras: Sequence[str | None] = query.cameras if query.cameras is not None else (None,)
    classes: Sequence[str | None] = query.classes or (None,)
    left: list[ColumnElement[bool]] = []
    if len(cameras) * len(classes) > _MOST_BRANCHES:
        # So many of one that most rows of the other pass.
        if len(cameras) >= len(classes):
            left.append(columns.camera.in_(query.cameras or ()))
            cameras = (None,)
        else:
            left.append(columns.class_name.in_(query.classes))
            classes = (None,)
    branches = [
        [
            *([columns.camera == camera] if camera is not None else []),
            *([columns.class_name == name] if name is not None else []),
        ]
        for camera, name in product(cameras, classes)
    ]
    return branches, left


def _filters(query: SightingQuery) -> list[ColumnElement[bool]]:
    """What has to be asked of each sighting."""
    columns = SightingRow.__table__.c
    filters: list[ColumnElement[bool]] = []
    if query.from_us is not None:
        filters.append(columns.end_us >= query.from_us)
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
    return filters


def _within(connection: Connection, region: RelativeBox, rows: Sequence[Any], limit: int) -> tuple[list[Any], int]:
    """Of rows whose boxes together touch a region those of which one does, and the place of the last one decided."""
    finder = _Finder(connection, region)
    found: list[Any] = []
    for place, row in enumerate(rows):
        if finder.touches(row):
            found.append(row)
        if len(found) == limit or finder.unpacked >= _MOST_UNPACKED:
            return found, place
    return found, len(rows) - 1


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
