"""What was deleted of each camera, in files beside its segments.

An edge that sends a deleted record again must hear that it was persisted, and a segment's number must never come back,
also where the database is of yesterday or was made anew. So what is deleted is noted here before it goes: by camera a
file a month, of one entry a day and rule, which grow with the gaps between deletions alone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import google_crc32c

from cloud_service.store.segment import Segment
from cloud_service.store.sequences import SequenceSet
from icm.atomic_file import write_atomically
from icm.errors import FrameDeletedError, StorageError, storage_error

log = logging.getLogger(__name__)
FOLDER = "deleted"


@dataclass
class DeletedEntry:
    """Segments of one epoch that went on one day by one rule.

    Attributes:
        day: such as 2026-11-27, UTC.
        numbers: of the segments.
        sequences: of their records.
    """

    day: str
    epoch: int
    reason: str
    rule: str
    numbers: SequenceSet = field(default_factory=SequenceSet)
    sequences: SequenceSet = field(default_factory=SequenceSet)


class DeletedSegments:
    """The files of all cameras below a store's folder. Thread-safe, with one that notes."""

    def __init__(self, root: Path, check_owned: Callable[[], None] = lambda: None) -> None:
        """Opens the notes of a store.

        Args:
            check_owned: as in ``RecordStore``.
        """
        self._root, self._check_owned = root, check_owned

    def entries(self, camera: str) -> Iterator[DeletedEntry]:
        """All that was deleted of a camera, the newest month first.

        Raises:
            StorageError: a file cannot be read, or is damaged.
        """
        for path in sorted((self._root / camera / FOLDER).glob("????-??.json"), reverse=True):
            yield from _load(path)

    def find(self, camera: str, epoch: int, sequence: int) -> DeletedEntry | None:
        """With what a record was deleted.

        Raises:
            StorageError: a file cannot be read, or is damaged.
        """
        return next((e for e in self.entries(camera) if e.epoch == epoch and sequence in e.sequences), None)

    def error(self, camera: str, epoch: int, sequence: int) -> FrameDeletedError:
        """What to answer who asks for a record that was deleted.

        Raises:
            StorageError: as of ``find``.
        """
        entry = self.find(camera, epoch, sequence)
        by = f"on {entry.day} by rule {entry.rule}" if entry is not None else "at a time that was not noted"
        return FrameDeletedError(f"frame {sequence} of camera {camera!r}, epoch {epoch}, was deleted {by}")

    def note(self, segments: Sequence[Segment], reason: str, rule: str, at_us: int) -> None:
        """Segments of one camera are about to go; that is on the disk when this returns.

        Args:
            segments: which.
            reason: the rule's kind.
            rule: the very rule, for a person.
            at_us: when, microseconds since 1970.

        Raises:
            StorageError: the disk refused, or the store is this process's no more.
        """
        day = datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%d")
        path = self._root / segments[0].camera / FOLDER / f"{day[:7]}.json"
        self._check_owned()
        try:
            entries = _load(path) if path.exists() else []
        except StorageError as error:
            # What it said is lost; what is to be said now must not be.
            log.error("%s; setting it aside", error)
            path.replace(path.with_name(f"{path.name}.damaged"))
            entries = []
        known = {(entry.day, entry.epoch, entry.reason, entry.rule): entry for entry in entries}
        for segment in segments:
            key = day, segment.epoch, reason, rule
            entry = known.setdefault(key, DeletedEntry(*key))
            entry.numbers.add(segment.number)
            for first, last in segment.sequences:
                entry.sequences.add_range(first, last)
        try:
            write_atomically(path, _packed(known.values()))
        except OSError as error:
            raise storage_error(error, path) from None


def _packed(entries: Iterable[DeletedEntry]) -> str:
    said = [
        {**vars(entry), "numbers": entry.numbers.to_text(), "sequences": entry.sequences.to_text()} for entry in entries
    ]
    return json.dumps({"crc32c": _checksum(said), "deleted": said}) + "\n"


def _load(path: Path) -> list[DeletedEntry]:
    try:
        found = json.loads(path.read_bytes())
        said = found["deleted"]
        if found["crc32c"] != _checksum(said):
            raise ValueError("its checksum does not fit")
        return [
            DeletedEntry(
                str(entry["day"]),
                int(entry["epoch"]),
                str(entry["reason"]),
                str(entry["rule"]),
                SequenceSet.from_text(entry["numbers"]),
                SequenceSet.from_text(entry["sequences"]),
            )
            for entry in said
        ]
    except OSError as error:
        raise storage_error(error, path) from None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise StorageError(
            f"{path} is damaged ({error}): records that it says were deleted may be taken a second time"
        ) from None


def _checksum(said: object) -> int:
    return int(google_crc32c.value(json.dumps(said, sort_keys=True).encode()))
