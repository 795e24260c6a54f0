"""Questions to the index, each by camera and a range of numbers or sequences: it is larger than memory."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, bindparam, delete, func, insert, select, update

from cloud_service.database.proof_tables import ChainRow
from cloud_service.database.statements import transaction
from cloud_service.database.tables import CursorRow
from cloud_service.database.tables import RecordSegmentRow as SegmentRow
from cloud_service.database.usage import Amount, Tier, UsageKey, add_usage
from cloud_service.store.index.rows import COLUMNS, READABLE, Change, State, row_of, segment_of
from cloud_service.store.index.stills import Stills
from cloud_service.store.segment import LONGEST_US, Segment
from cloud_service.store.sequences import SequenceSet
from icm.errors import StoredDamageError

log = logging.getLogger(__name__)

_PAGE = 1000
"""Rows that a walk over many reads at once."""


class SegmentIndex:
    """Rows of ``record_segments``. Losing them costs time at the next start, never data. Thread-safe.

    Every method raises SQLAlchemyError where the database does not answer.
    """

    def __init__(self, database: Engine) -> None:
        self._database = database

    def stills(self, root: Path) -> Stills:
        """Of the same database, those in the store's folder."""
        return Stills(root, self._database)

    def cameras(self) -> list[str]:
        """All cameras that the index, a cursor or a chain speaks of, by name."""
        found: list[str] = []
        with self._database.connect() as connection:
            others = {*connection.scalars(select(CursorRow.camera)), *connection.scalars(select(ChainRow.camera))}
            # A jump from name to name: DISTINCT would read every row.
            while (name := connection.scalar(_NEXT_CAMERA, {"after": found[-1] if found else ""})) is not None:
                found.append(name)
        return sorted(others.union(found))

    def next_number(self, camera: str) -> int:
        """The first number that nothing in the database speaks of. What it speaks of may be gone from the disk; a
        number that came back would be taken for looked at.
        """
        with self._database.connect() as connection:
            last = connection.scalar(select(func.max(SegmentRow.number)).where(SegmentRow.camera == camera)) or 0
            row = connection.execute(select(CursorRow.__table__).where(CursorRow.camera == camera)).first()
            chained = connection.scalar(select(ChainRow.numbers).where(ChainRow.camera == camera))
        last = max(last, SequenceSet.from_text(chained or "").last)
        seen = max(row.detect_segment + (row.detect_offset > 0), row.archive_segment) if row is not None else 0
        return max(1, last + 1, seen)

    def count(self, camera: str) -> int:
        """A camera's rows, those of segments that are gone included."""
        with self._database.connect() as connection:
            return connection.scalar(select(func.count()).where(SegmentRow.camera == camera)) or 0

    def gone(self, camera: str) -> set[int]:
        """Numbers of the segments whose files an earlier start did not find, deleted or not."""
        with self._database.connect() as connection:
            return set(
                connection.scalars(
                    select(SegmentRow.number).where(
                        SegmentRow.camera == camera, SegmentRow.state.in_((State.GONE, State.DELETED))
                    )
                )
            )

    def rows(self, camera: str, numbers: SequenceSet) -> Iterator[Sequence[Any]]:
        """The rows of these numbers, as ``segment_of`` reads them."""
        with self._database.connect() as connection:
            for first, last in numbers:
                query = select(*COLUMNS).where(SegmentRow.camera == camera, SegmentRow.number.between(first, last))
                yield from connection.execute(query).all()

    def numbers(self, camera: str) -> Iterator[int]:
        """All numbers that have a row, in order."""
        after = -1
        while True:
            query = (
                select(SegmentRow.number)
                .where(SegmentRow.camera == camera, SegmentRow.number > after)
                .order_by(SegmentRow.number)
                .limit(_PAGE)
            )
            with self._database.connect() as connection:
                page = list(connection.scalars(query))
            if not page:
                return
            yield from page
            after = page[-1]

    def following(self, camera: str, number: int, limit: int) -> Sequence[Row[Any]]:
        """The rows of a camera's segments from a number on, ``limit`` at most, for ``sound_segment``."""
        query = _READABLE.where(SegmentRow.camera == camera, SegmentRow.number >= number)
        return self._all(query.order_by(SegmentRow.number).limit(limit))

    def preceding(self, camera: str, number: int, limit: int) -> Sequence[Row[Any]]:
        """The rows of a camera's segments up to and with a number, the highest first, as ``following``."""
        query = _READABLE.where(SegmentRow.camera == camera, SegmentRow.number <= number)
        return self._all(query.order_by(SegmentRow.number.desc()).limit(limit))

    def captured_between(self, camera: str, from_us: int, to_us: int) -> Sequence[Row[Any]]:
        """The rows of a camera's segments that hold frames of a stretch of time, as ``following``, and of those besides
        whose files are gone.
        """
        query = select(*COLUMNS).where(
            SegmentRow.camera == camera,
            # A segment is not longer than that, so the index need not be read from its start.
            SegmentRow.first_capture_us.between(from_us - LONGEST_US, to_us - 1),
            SegmentRow.last_capture_us >= from_us,
        )
        return self._all(query.order_by(SegmentRow.first_capture_us))

    def holder(self, camera: str, epoch: int, sequence: int, without: Container[int]) -> Segment | None:
        """The segment that holds a record.

        Args:
            without: numbers of rows that do not count.

        Raises:
            StoredDamageError: its row is damaged.
        """
        query = _READABLE.where(
            SegmentRow.camera == camera,
            SegmentRow.epoch == epoch,
            SegmentRow.first_sequence <= sequence,
            SegmentRow.last_sequence >= sequence,
        ).order_by(SegmentRow.first_sequence.desc())
        # Records come in order, so the first row is the one, but where many came late. To look for a second means to
        # go through all that came before.
        for some in (query.limit(1), query):
            for row in self._all(some):
                if row.number not in without and sequence in (segment := sound_segment(row)).sequences:
                    return segment
        return None

    def bytes(self, camera: str, first: int, last: int) -> int:
        """Size of the segments from number ``first`` to ``last``, both included."""
        query = select(func.sum(SegmentRow.size)).where(
            SegmentRow.camera == camera,
            SegmentRow.number.between(first, last),
            SegmentRow.state.in_(READABLE),
        )
        with self._database.connect() as connection:
            return int(connection.scalar(query) or 0)

    def write(self, changes: Sequence[Change]) -> None:
        """Makes changes, and those of the usage that come with them, all or none; of several of one number the last."""
        changes = list({(change.camera, change.number): change for change in changes}.values())
        if not changes:
            return
        marked = [change for change in changes if change.segment is None and change.state is not None]
        rows = [row_of(change.segment, change.state) for change in changes if change.segment and change.state]
        others = [change for change in changes if change.segment is not None or change.state is None]
        with transaction(self._database) as connection:
            add_usage(connection, _usage_of(connection, changes))
            if others:
                connection.execute(_FORGET, [{"camera_": change.camera, "number_": change.number} for change in others])
            if rows:
                connection.execute(insert(SegmentRow), rows)
            if marked:
                connection.execute(
                    _MARK, [{"camera_": c.camera, "number_": c.number, "state_": c.state} for c in marked]
                )

    def _all(self, query: Any) -> Sequence[Row[Any]]:
        with self._database.connect() as connection:
            return connection.execute(query).all()


def forget(connection: Connection, camera: str, numbers: Sequence[int]) -> None:
    """Takes rows out, and what their files take, as part of the connection's transaction."""
    changes = [Change(camera, number, None, None) for number in numbers]
    add_usage(connection, _usage_of(connection, changes))
    connection.execute(_FORGET, [{"camera_": camera, "number_": number} for number in numbers])


def _usage_of(connection: Connection, changes: Sequence[Change]) -> dict[UsageKey, Amount]:
    """How changes change what records take."""
    usage: dict[UsageKey, Amount] = {}
    for camera in {change.camera for change in changes}:
        mine = [change for change in changes if change.camera == camera]
        files = select(func.count(), func.sum(SegmentRow.size), func.sum(SegmentRow.disk_bytes)).where(
            SegmentRow.camera == camera,
            SegmentRow.number.in_([change.number for change in mine]),
            SegmentRow.state.in_(READABLE),
        )
        before = Amount(*(int(value or 0) for value in connection.execute(files).one()))
        after = [c.segment for c in mine if c.segment is not None and c.state in READABLE]
        usage[UsageKey(camera, Tier.RECORDS)] = -before + (
            len(after), sum(of.size for of in after), sum(of.disk_bytes for of in after)
        )  # fmt: skip
    return usage


def sound_segment(row: Row[Any]) -> Segment:
    """The segment of a row of ``COLUMNS``.

    Raises:
        StoredDamageError: the row is damaged.
    """
    segment = segment_of(row)
    if segment is None:
        raise StoredDamageError(
            f"the row of segment {row.number} of camera {row.camera!r} in the index is damaged: restart icm-cloud,"
            " which makes it again from the file"
        )
    return segment


_READABLE = select(*COLUMNS).where(SegmentRow.state.in_(READABLE))
_NEXT_CAMERA = select(func.min(SegmentRow.camera)).where(SegmentRow.camera > bindparam("after"))
_FORGET = delete(SegmentRow).where(SegmentRow.camera == bindparam("camera_"), SegmentRow.number == bindparam("number_"))
_MARK = (
    update(SegmentRow)
    .where(SegmentRow.camera == bindparam("camera_"), SegmentRow.number == bindparam("number_"))
    .values(state=bindparam("state_"))
)
