"""Pages of sightings as they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, literal, select

from cloud_service.database.sightings_tables import SegmentClassRow
from cloud_service.database.tables import CursorRow
from cloud_service.sightings.page_cursor import PageCursor
from cloud_service.sightings.relative_boxes import WHOLE, RelativeBox
from cloud_service.sightings.search import SightingQuery, search_sightings
from cloud_service.viewer.search.seen import seen_among
from icm.frame_id import FrameId

ON_A_PAGE = 60
_MOST_PAGES = 5
"""That are read to find enough of what somebody has not seen yet."""
_MOST_CLASSES = 200


@dataclass(frozen=True)
class Found:
    """A sighting as it is shown.

    Attributes:
        id: its number.
        camera: that saw it.
        class_name: what it is.
        score: of its best frame, 0 to 1.
        start_us: when it began, microseconds since 1970.
        end_us: when it ended.
        best_us: when its best frame was captured.
        frame: the best frame.
        box: there, as parts of the picture, 0 to 1.
        seen: whether whoever asks has seen it.
    """

    id: int
    camera: str
    class_name: str
    score: float
    start_us: int
    end_us: int
    best_us: int
    frame: FrameId
    box: tuple[float, float, float, float]
    seen: bool

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return (self.end_us - self.start_us) / 1e6

    @property
    def day(self) -> str:
        """On which it began, in UTC."""
        return f"{datetime.fromtimestamp(self.start_us / 1e6, UTC):%A, %-d %B %Y}"

    @staticmethod
    def of(row: Any, seen: bool) -> Found:
        """A row of ``sightings``."""
        left, top, right, bottom = (edge / WHOLE for edge in RelativeBox.unpack(row.best_box))
        return Found(
            id=row.id,
            camera=row.camera,
            class_name=row.class_name,
            score=row.best_score,
            start_us=row.start_us,
            end_us=row.end_us,
            best_us=row.best_us,
            frame=FrameId(row.camera, row.best_epoch, row.best_sequence),
            box=(left, top, right, bottom),
            seen=seen,
        )


@dataclass(frozen=True)
class Results:
    """A page.

    Attributes:
        found: the latest begun first.
        next: where to go on; None at the end.
    """

    found: list[Found]
    next: PageCursor | None

    @property
    def days(self) -> Iterator[tuple[str, list[Found]]]:
        """What was found by the day on which it began."""
        by_day: dict[str, list[Found]] = {}
        for each in self.found:
            by_day.setdefault(each.day, []).append(each)
        return iter(by_day.items())


def find(connection: Connection, query: SightingQuery, after: PageCursor | None, user: str, before_us: int) -> Results:
    """A page of sightings, seen or not.

    Args:
        connection: of ``database.statements.walking``.
        query: what to search for.
        after: where the page before ended.
        user: who asks.
        before_us: what began earlier counts as seen by them, microseconds since 1970.
    """
    page = search_sightings(connection, query, ON_A_PAGE, after)
    return Results(_shown(connection, page.rows, user, before_us), page.next)


def find_unseen(connection: Connection, query: SightingQuery, after: PageCursor | None, user: str) -> Results:
    """A page of sightings that a user has not marked as seen; arguments as of ``find``.

    Where most are marked it may hold few, and goes on all the same.
    """
    found: list[Found] = []
    for _ in range(_MOST_PAGES):
        page = search_sightings(connection, query, ON_A_PAGE, after)
        unseen = [each for each in _shown(connection, page.rows, user, 0) if not each.seen]
        if len(found) + len(unseen) > ON_A_PAGE:
            kept = unseen[: ON_A_PAGE - len(found)]
            return Results(found + kept, PageCursor(kept[-1].start_us, kept[-1].id) if kept else after)
        found, after = found + unseen, page.next
        if after is None:
            break
    return Results(found, after)


def cameras_of(connection: Connection) -> tuple[str, ...]:
    """All cameras, by name."""
    return tuple(sorted(connection.scalars(select(CursorRow.camera))))


def classes_of(connection: Connection) -> tuple[str, ...]:
    """The classes that were ever found in what is stored, by name: each takes one step in an index."""
    name = SegmentClassRow.class_name
    walk = select(select(name).order_by(name).limit(1).scalar_subquery().label("name"), literal(1).label("place"))
    names = walk.cte("names", recursive=True)
    following = select(name).where(name > names.c.name).order_by(name).limit(1).scalar_subquery()
    step = select(following, names.c.place + 1).where(names.c.name.is_not(None), names.c.place < _MOST_CLASSES)
    names = names.union_all(step)
    return tuple(connection.scalars(select(names.c.name).where(names.c.name.is_not(None))))


def _shown(connection: Connection, rows: Iterable[Any], user: str, before_us: int) -> list[Found]:
    listed = list(rows)
    marked = seen_among(connection, user, [row.id for row in listed])
    return [Found.of(row, row.id in marked or row.start_us < before_us) for row in listed]
