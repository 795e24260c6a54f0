"""Pages of sightings as they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, literal, select, union_all

from cloud_service.database.sightings_tables import SegmentClassRow
from cloud_service.database.tables import CursorRow
from cloud_service.database.viewer_tables import ReviewRow
from cloud_service.sightings.page_cursor import PageCursor
from cloud_service.sightings.relative_boxes import WHOLE, RelativeBox
from cloud_service.sightings.search import Count, SightingQuery, search_sightings
from icm.frame_id import FrameId

ON_A_PAGE = 60
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
        count: of all that is found; None where it was not asked for.
    """

    found: list[Found]
    next: PageCursor | None
    count: Count | None = None

    @property
    def days(self) -> Iterator[tuple[str, list[Found]]]:
        """What was found by the day on which it began."""
        by_day: dict[str, list[Found]] = {}
        for each in self.found:
            by_day.setdefault(each.day, []).append(each)
        return iter(by_day.items())


@dataclass(frozen=True)
class Known:
    """What a search can be about, and what a user has seen.

    Attributes:
        cameras: all of them, by name.
        classes: that were ever found in what is stored, by name.
        seen_before_us: what began before this counts as seen, microseconds since 1970; 0: nothing.
    """

    cameras: tuple[str, ...]
    classes: tuple[str, ...]
    seen_before_us: int


def find(
    connection: Connection,
    query: SightingQuery,
    after: PageCursor | None,
    user: str,
    before_us: int,
    *,
    counted: bool = False,
) -> Results:
    """A page of sightings, seen or not.

    Args:
        connection: of ``database.statements.walking``.
        query: what to search for.
        after: where the page before ended.
        user: who asks.
        before_us: what began earlier counts as seen by them, microseconds since 1970.
        counted: whether to count all that is found.
    """
    page = search_sightings(connection, query, ON_A_PAGE, after, counted=counted, seen_by=user)
    found = [Found.of(row, row.seen or row.start_us < before_us) for row in page.rows]
    return Results(found, page.next, page.count)


def find_unseen(connection: Connection, query: SightingQuery, after: PageCursor | None, user: str) -> Results:
    """A page of sightings that a user has not marked as seen; arguments as of ``find``.

    Where most are marked it may hold few, and goes on all the same.
    """
    page = search_sightings(connection, replace(query, unseen_by=user), ON_A_PAGE, after)
    return Results([Found.of(row, seen=False) for row in page.rows], page.next)


def known_to(connection: Connection, user: str) -> Known:
    """All of it in one statement, in which each class takes one step in an index.

    Args:
        connection: of ``database.statements.walking``.
        user: who asks.
    """
    name = SegmentClassRow.class_name
    walk = select(select(name).order_by(name).limit(1).scalar_subquery().label("name"), literal(1).label("place"))
    names = walk.cte("names", recursive=True)
    following = select(name).where(name > names.c.name).order_by(name).limit(1).scalar_subquery()
    step = select(following, names.c.place + 1).where(names.c.name.is_not(None), names.c.place < _MOST_CLASSES)
    names = names.union_all(step)
    rows = connection.execute(
        union_all(
            select(literal("camera").label("kind"), CursorRow.camera.label("name"), literal(0).label("us")),
            select(literal("class"), names.c.name, literal(0)).where(names.c.name.is_not(None)),
            select(literal("seen"), ReviewRow.user_name, ReviewRow.seen_before_us).where(ReviewRow.user_name == user),
        )
    ).all()
    cameras, classes = (tuple(sorted(row.name for row in rows if row.kind == kind)) for kind in ("camera", "class"))
    return Known(cameras, classes, next((int(row.us) for row in rows if row.kind == "seen"), 0))
