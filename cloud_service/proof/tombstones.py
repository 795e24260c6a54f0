"""Tombstones: what stays of a record segment that was deleted, and why it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from cloud_service.database.statements import add_rows
from cloud_service.database.tables import TombstoneRow
from cloud_service.store.segment import Segment


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
