"""What holds keep in bytes of the disk, and where one that has a budget ends.

A hold is for a time that may not be over yet, and every byte in it is one that no rule may take back. With a budget it
keeps what arrived until that is used up; what arrives later in its time is deleted by the rules like anything else.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Engine, Select, and_, func, or_, select

from cloud_service.database.tables import RecordSegmentRow, VideoSegmentRow
from cloud_service.holds.book import Hold, HoldBook
from cloud_service.store.index.rows import READABLE
from cloud_service.store.segment import LONGEST_US
from icm.errors import ConfigError

log = logging.getLogger(__name__)
NEAR = 0.9
"""Part of a budget from which on a hold is near its end."""
_CONDITIONS = 200
"""Stretches that one statement names."""


class Kept(NamedTuple):
    """Bytes of the disk that are kept, by tier."""

    records: int = 0
    video: int = 0
    thumbnails: int = 0


class HoldMeter:
    """Measures holds by the database: records, videos and thumbnails of sealed segments. Thread-safe. Every method
    raises SQLAlchemyError where the database does not answer."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def bytes(self, hold: Hold) -> int:
        """What lies in a hold's time and cameras, whether it is kept or not."""
        return self._sum([_covered(hold)])

    def kept_bytes(self, hold: Hold) -> int:
        """What a hold keeps."""
        return self._sum(_kept(hold))

    def all_kept_bytes(self, holds: Iterable[Hold]) -> int:
        """What some holds keep together; what several keep counts once."""
        return sum(self.all_kept(holds))

    def all_kept(self, holds: Iterable[Hold]) -> Kept:
        """The same, apart."""
        conditions: list[ColumnElement[bool]] = []
        ranges: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
        for hold in holds:
            if hold.full_us:
                conditions += _kept(hold)
            else:
                ranges[hold.cameras].append((hold.from_us, hold.to_us))
        for cameras, of_cameras in ranges.items():
            conditions += [_within(cameras, *each) for each in _merged(of_cameras)]
        return self._sums(conditions)

    def ends(self, hold: Hold) -> dict[str, int]:
        """By camera the first segment that a hold's budget is not enough for; empty if it is enough for all.

        Segments count in the order in which they arrived. Nobody notes that for more than one camera at a time, so
        between cameras it goes by the latest time that a segment up to this one counts its age from.
        """
        of = RecordSegmentRow
        columns: Any = select(of.camera, of.number, of.kept_from_us, _SIZE)
        query = _sizes(columns).where(_covered(hold))
        with self._database.connect() as connection:
            rows = connection.execute(query.order_by(of.camera, of.number)).all()
        arrived: dict[str, int] = {}
        ordered = []
        for camera, number, kept_from_us, size in rows:
            arrived[camera] = max(arrived.get(camera, 0), kept_from_us)
            ordered.append((arrived[camera], camera, number, size))
        ends: dict[str, int] = {}
        total = 0
        for _, camera, number, size in sorted(ordered):
            total += size
            if total > hold.max_bytes:
                ends.setdefault(camera, number)
        if not ends:
            return {}
        # Of cameras that the budget was enough for, what arrives later is not kept either.
        newest = {camera: number for camera, number, *_ in rows}
        return {camera: number + 1 for camera, number in newest.items()} | ends

    def _sum(self, conditions: Sequence[ColumnElement[bool]]) -> int:
        return sum(self._sums(conditions))

    def _sums(self, conditions: Sequence[ColumnElement[bool]]) -> Kept:
        total = Kept()
        with self._database.connect() as connection:
            for start in range(0, len(conditions), _CONDITIONS):
                sums: Any = select(*map(func.sum, _PARTS))
                query = _sizes(sums).where(or_(*conditions[start : start + _CONDITIONS]))
                found = connection.execute(query).one()
                total = Kept(*(before + int(size or 0) for before, size in zip(total, found, strict=True)))
        return total


@dataclass(frozen=True)
class HoldTotals:
    """What all active holds are like.

    Attributes:
        bytes: what they keep together.
        near: how many have used most of their budget, those that are full not counted.
        full: how many keep no more of what arrives.
    """

    bytes: int = 0
    near: int = 0
    full: int = 0


class HoldBudgets:
    """Ends holds whose budget is used up."""

    def __init__(self, book: HoldBook, meter: HoldMeter) -> None:
        self._book, self._meter = book, meter

    def check(self, now_us: int | None, at_us: int) -> HoldTotals:
        """Looks at all active holds.

        Args:
            now_us: the time that they expire by, microseconds since 1970; None if none can be trusted.
            at_us: the time, to be noted.

        Raises:
            StorageError: a hold's end could not be noted.
            SQLAlchemyError: the database does not answer.
        """
        near = 0
        for hold in self._book.active(now_us):
            if not hold.max_bytes or hold.full_us:
                continue
            size = self._meter.bytes(hold)
            if size > hold.max_bytes:
                self._book.fill(hold.id, self._meter.ends(hold), at_us)
                log.warning(
                    "hold %s of %s is full: its budget is %d bytes, and %d lie in its time; what arrived last, and what"
                    " will, is not kept",
                    hold.id, hold.owner, hold.max_bytes, size,
                )  # fmt: skip
            elif size > NEAR * hold.max_bytes:
                near += 1
        active = self._book.active(now_us)
        full = sum(bool(hold.full_us) for hold in active)
        return HoldTotals(self._meter.all_kept_bytes(active), near, full)


def check_fits(hold: Hold, meter: HoldMeter) -> None:
    """Checks that what lies in a hold's time is within its budget.

    Raises:
        ConfigError: it is more.
        SQLAlchemyError: the database does not answer.
    """
    if hold.max_bytes and (size := meter.bytes(hold)) > hold.max_bytes:
        raise ConfigError(
            f"the hold's budget is {hold.max_bytes} bytes, and {size} lie in its time already: name fewer cameras or a"
            " shorter time, or give it more"
        )


def check_total(hold: Hold, active: Iterable[Hold], meter: HoldMeter, most_bytes: int) -> None:
    """Checks that a hold and those that there are keep no more together than they may.

    Raises:
        ConfigError: they would.
        SQLAlchemyError: the database does not answer.
    """
    size = meter.all_kept_bytes([*active, hold])
    if size > most_bytes:
        raise ConfigError(
            f"with this hold {size} bytes would be kept, and all holds may keep {most_bytes} (retention.holds): name"
            " fewer cameras or a shorter time, or release another"
        )


_PARTS = (
    RecordSegmentRow.disk_bytes,
    func.coalesce(VideoSegmentRow.disk_bytes, 0),
    func.coalesce(VideoSegmentRow.thumbnail_disk_bytes, 0),
)
_SIZE = _PARTS[0] + _PARTS[1] + _PARTS[2]


def _sizes(query: Select[Any]) -> Select[Any]:
    """The query, over segments that are there, with what is rendered of them."""
    of, video = RecordSegmentRow, VideoSegmentRow
    joined = query.select_from(of).join(video, and_(video.camera == of.camera, video.number == of.number), isouter=True)
    return joined.where(of.state.in_(READABLE))


def _covered(hold: Hold) -> ColumnElement[bool]:
    return _within(hold.cameras, hold.from_us, hold.to_us)


def _kept(hold: Hold) -> list[ColumnElement[bool]]:
    of = RecordSegmentRow
    if not hold.full_us:
        return [_covered(hold)]
    return [and_(_within((camera,), hold.from_us, hold.to_us), of.number < end) for camera, end in hold.ends]


def _within(cameras: Sequence[str], from_us: int, to_us: int) -> ColumnElement[bool]:
    of = RecordSegmentRow
    in_time = and_(
        # No segment is longer, so what is older need not be read.
        of.first_capture_us >= from_us - LONGEST_US,
        of.first_capture_us < to_us,
        of.last_capture_us >= from_us,
    )
    return and_(of.camera.in_(cameras), in_time) if cameras else in_time


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same stretches, those that touch made one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged
