"""Tombstones: what stays of a record segment that was deleted, and why it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from cloud_service.database.statements import add_rows
from cloud_service.database.tables import TombstoneRow
from cloud_service.store.segment import LONGEST_US, Segment


@dataclass(frozen=True)
class Deletion:
    """A segment that goes, and why.

    Attributes:
        segment: as the index has it.
        reason: the rule's kind, such as "max_age".
        rule: the very rule, for a person.
        by: who deletes: "retention", or a person's name.
        at_us: when, microseconds since 1970.
    """

    segment: Segment
    reason: str
    rule: str
    by: str
    at_us: int


def write_tombstones(connection: Connection, deletions: Sequence[Deletion]) -> None:
    """Notes deletions, as part of the transaction that makes them. A segment keeps its first tombstone."""
    rows = [
        {
            "camera": segment.camera,
            "number": segment.number,
            "epoch": segment.epoch,
            "first_capture_us": segment.first_capture_us,
            "last_capture_us": segment.last_capture_us,
            "records": segment.records,
            "size": segment.size,
            "sequences": segment.sequences.to_text(),
            "sha256": segment.sha256,
            "reason": deletion.reason,
            "rule": deletion.rule,
            "deleted_by": deletion.by,
            "deleted_us": deletion.at_us,
        }
        for deletion in deletions
        for segment in (deletion.segment,)
    ]
    add_rows(connection, TombstoneRow, rows, (TombstoneRow.number,))


@dataclass(frozen=True)
class Deleted:
    """A segment that is here no more.

    Attributes:
        number: the segment's.
        first_us: earliest capture time, microseconds since 1970.
        last_us: latest capture time.
        records: how many it held.
        why: when it went and by which rule, for a person.
    """

    number: int
    first_us: int
    last_us: int
    records: int
    why: str


def deleted_between(connection: Connection, camera: str, from_us: int, to_us: int) -> list[Deleted]:
    """A camera's segments that held frames captured from ``from_us`` on and before ``to_us``, and were deleted."""
    of = TombstoneRow
    columns = (of.number, of.first_capture_us, of.last_capture_us, of.records, of.rule, of.deleted_us)
    query = select(*columns).where(
        of.camera == camera,
        # No segment is longer than that, so what was later need not be read.
        of.last_capture_us.between(from_us, to_us + LONGEST_US),
        of.first_capture_us < to_us,
    )
    return [
        Deleted(number, first, last, records, f"deleted on {_day(at_us)} by rule {rule}")
        for number, first, last, records, rule, at_us in connection.execute(query.order_by(of.number))
    ]


def _day(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%d")
