"""Sightings by class, score, cameras, time, place and duration, the latest begun first.

Every statement walks an index of ``sightings`` in the order of the answer: one for each pair of camera and class that
is asked for, or where these are many for each of the fewer, merged by the database. What no index says is a filter, and
so that a filter nothing passes cannot go through years, a page looks at ``_LOOKED_AT`` sightings at most: a first
statement finds when the last of them began, from an index alone, and the page ends there. Boxes of a region are packed,
and a page looks into ``_MOST_UNPACKED`` rows of them. Connections are those of ``database.statements.walking``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, product
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, func, or_, select, tuple_, union_all

from cloud_service.database.sightings_tables import BoxesRow, SightingRow
from cloud_service.database.viewer_tables import SeenRow
from cloud_service.events.packed_boxes import Boxes, unpack
from cloud_service.sightings.linking import LONGEST_US
from cloud_service.sightings.page_cursor import PageCursor
from cloud_service.sightings.relative_boxes import WHOLE, RelativeBox

MOST_COUNTED = 1000
_LOOKED_AT = 16_384
"""Sightings that a page looks at where something has to be asked of each; and those that began at that very time."""
_CANDIDATES = 200
"""Sightings around a region, of which a page finds out whether they were in it."""
_MOST_UNPACKED = 64
"""Rows of packed boxes that a page looks into for a region; the sighting that is being decided is finished."""
_READ_TOGETHER = 32
"""Rows of packed boxes that a statement asks for."""
_MOST_BRANCHES = 16
"""Pairs of camera and class that each get an index walk of their own: PostgreSQL plans each one."""
_Key = tuple[str, int, str]
"""Camera, segment and model of a row of packed boxes."""


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
        unseen_by: not marked as seen by this user of the viewer; empty for whatever is marked.
    """

    cameras: tuple[str, ...] | None = None
    classes: tuple[str, ...] = ()
    least_score: float = 0.0
    from_us: int | None = None
    to_us: int | None = None
    region: RelativeBox | None = None
    least_us: int = 0
    model: str = ""
    unseen_by: str = ""


class Count(NamedTuple):
    """How many sightings there are, up to ``MOST_COUNTED``, and whether there may be more."""

    number: int
    goes_on: bool


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        rows: of ``sightings``; with ``seen``, where it was asked whose marks that means.
        next: where to go on; None at the end.
        count: of all that is found, wherever in the picture; None where it was not asked for.
    """

    rows: list[Any]
    next: PageCursor | None
    count: Count | None = None


def search_sightings(
    connection: Connection,
    query: SightingQuery,
    limit: int,
    after: PageCursor | None,
    *,
    counted: bool = False,
    seen_by: str = "",
) -> Page:
    """A page of sightings.

    Args:
        connection: of ``database.statements.walking``.
        query: what to search for.
        limit: how many at most.
        after: where the page before ended.
        counted: whether to count all of them; from the first page on, as what is behind the cursor is not.
        seen_by: a user of the viewer, whose marks are told as ``seen`` of each row.
    """
    if query.cameras == ():
        return Page([], None, Count(0, False) if counted else None)
    walk = _Walk(connection, query, after)
    end_us = walk.find_end(connection)
    most = limit if query.region is None else max(limit, _CANDIDATES)
    marks = [_is_marked(seen_by).label("seen")] if seen_by else []
    rows = connection.execute(walk.rows(end_us, most + 1, SightingRow.__table__, *marks)).all()
    count = _count(connection, walk, end_us) if counted else None
    found, last = rows[:most], most - 1
    if query.region is not None:
        found, last = _within(connection, query.region, found, limit)
    if last < len(rows) - 1:
        return Page(list(found), PageCursor(rows[last].start_us, rows[last].id), count)
    return Page(list(found), PageCursor(end_us, 0) if end_us is not None else None, count)


def _count(connection: Connection, walk: _Walk, end_us: int | None) -> Count:
    some = walk.rows(end_us, MOST_COUNTED + 1, SightingRow.start_us, SightingRow.id).subquery()
    count = connection.scalar(select(func.count()).select_from(some)) or 0
    return Count(min(count, MOST_COUNTED), end_us is not None or count > MOST_COUNTED)


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

    def rows(self, end_us: int | None, limit: int, *columns: Any) -> Select[Any]:
        """These columns of the first ``limit`` rows that pass and began at ``end_us`` or later."""
        bounds = [SightingRow.start_us >= end_us] if end_us is not None else []
        return self._ordered([*bounds, *self._filters], limit, columns)

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
        # The fewer of both are walked, where they are few enough: most rows pass a filter that names many.
        by_camera = len(cameras) < len(classes) and len(cameras) <= _MOST_BRANCHES
        by_class = len(classes) <= len(cameras) and len(classes) <= _MOST_BRANCHES
        if query.cameras is not None and not by_camera:
            left.append(_unindexed(columns.camera).in_(query.cameras))
            cameras = (None,)
        if query.classes and not by_class:
            left.append(_unindexed(columns.class_name).in_(query.classes))
            classes = (None,)
    branches = [
        [
            *([columns.camera == camera] if camera is not None else []),
            *([columns.class_name == name] if name is not None else []),
        ]
        for camera, name in product(cameras, classes)
    ]
    return branches, left


def _unindexed(name: ColumnElement[str]) -> ColumnElement[str]:
    """The same text, by which no database chooses an index: it would have to sort what that finds."""
    return name.concat("")


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
    if query.unseen_by:
        filters.append(~_is_marked(query.unseen_by))
    if query.region is not None:
        left, top, right, bottom = query.region
        filters += [columns.union_left <= right, columns.union_right >= left]
        filters += [columns.union_top <= bottom, columns.union_bottom >= top]
    return filters


def _is_marked(user: str) -> ColumnElement[bool]:
    """Whether a user marked a sighting as seen: looked up for each row, so that their order stays."""
    of = SeenRow.__table__.c
    mark = select(of.start_us).where(of.user_name == user, of.sighting == SightingRow.__table__.c.id)
    return mark.correlate(SightingRow.__table__).scalar_subquery().is_not(None)


def _within(connection: Connection, region: RelativeBox, rows: Sequence[Any], limit: int) -> tuple[list[Any], int]:
    """Of rows whose boxes together touch a region those of which one does, and the place of the last one decided."""
    finder = _Finder(connection, region, rows)
    found: list[Any] = []
    for place, row in enumerate(rows):
        if finder.touches(place):
            found.append(row)
        if len(found) == limit or finder.unpacked >= _MOST_UNPACKED:
            return found, place
    return found, len(rows) - 1


class _Finder:
    """Looks in packed boxes whether sightings were in a part of the picture.

    Attributes:
        unpacked: how many rows of boxes it looked into.
    """

    def __init__(self, connection: Connection, region: RelativeBox, rows: Sequence[Any]) -> None:
        """For sightings in the order in which they will be asked about."""
        self._connection, self._region, self._rows = connection, region, rows
        self._read: dict[_Key, Any] = {}
        self._known: dict[_Key, Boxes] = {}
        self.unpacked = 0

    def touches(self, place: int) -> bool:
        """Whether one of a sighting's boxes touches the region; the union of all of them does."""
        row = self._rows[place]
        if self._shows_at_best(row):
            return True
        for key in _keys(row):
            if key not in self._read:
                self._read_on(place)
            found = self._read[key]
            if found is not None and self._within(row.id, self._boxes(key), found.width, found.height):
                return True
        return False

    def _shows_at_best(self, row: Any) -> bool:
        return _overlap(RelativeBox.unpack(row.best_box), self._region)

    def _read_on(self, place: int) -> None:
        """Reads what a sighting needs that was not read yet, and what those behind it will need, in one statement."""
        undecided = (row for row in self._rows[place:] if not self._shows_at_best(row))
        wanted: dict[_Key, Any] = {}
        for key in chain.from_iterable(map(_keys, undecided)):
            if key not in self._read:
                wanted[key] = None
            if len(wanted) == _READ_TOGETHER:
                break
        rows = self._connection.execute(_boxes_of(_READ_TOGETHER), _key_values(list(wanted)))
        self._read |= wanted
        self._read |= {(row.camera, row.number, row.model): row for row in rows}

    def _boxes(self, key: _Key) -> Boxes:
        if key not in self._known:
            self.unpacked += 1
            self._known[key] = unpack(self._read[key].data)
        return self._known[key]

    def _within(self, sighting: int, boxes: Boxes, width: int, height: int) -> bool:
        scale = np.array([width, height] * 2) / WHOLE
        left, top, right, bottom = np.array(self._region) * scale
        edges = boxes.edges[boxes.sightings == sighting]
        across = (edges[:, 0] <= right) & (edges[:, 2] >= left)
        return bool((across & (edges[:, 1] <= bottom) & (edges[:, 3] >= top)).any())


@cache
def _boxes_of(count: int) -> Select[Any]:
    """Rows of boxes by so many keys, whose values are those of ``_key_values``.

    Each key is a walk of its own: SQLite reads the whole table for ``(camera, number, model) IN (VALUES ...)``.
    """
    columns = BoxesRow.__table__.c
    of_key = (columns.camera, columns.number, columns.model)
    walks = [
        and_(*(column == bindparam(f"{column.name}_{place}", type_=column.type) for column in of_key))
        for place in range(count)
    ]
    return select(*of_key, columns.width, columns.height, columns.data).where(or_(*walks))


def _key_values(keys: Sequence[_Key]) -> dict[str, str | int]:
    """Values for ``_boxes_of``; where there are fewer keys than it takes, some stand there again."""
    values: dict[str, str | int] = {}
    for place in range(_READ_TOGETHER):
        camera, number, model = keys[place % len(keys)]
        values |= {f"camera_{place}": camera, f"number_{place}": number, f"model_{place}": model}
    return values


def _keys(row: Any) -> Iterator[_Key]:
    """Where a sighting's boxes lie, the oldest first; a segment in which it was missed has none."""
    return ((row.camera, number, row.model) for number in range(row.first_segment, row.last_segment + 1))


def _overlap(box: RelativeBox, other: RelativeBox) -> bool:
    across = box.left <= other.right and box.right >= other.left
    return across and box.top <= other.bottom and box.bottom >= other.top
