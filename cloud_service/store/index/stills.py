"""Stills: key frames that are left of segments whose records were deleted.

The files are the truth, as with segments: a database that was made anew, or is of yesterday, gets their rows again when
a start comes by them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, select

from cloud_service.database.retention_tables import StillRow
from cloud_service.database.statements import add_rows, transaction
from cloud_service.database.tables import TombstoneRow
from cloud_service.store.segment import BLOCK_BYTES, Segment, number_of
from cloud_service.store.sequences import SequenceSet
from icm.codec.bitstream.record import Kind, Record, StreamHeader, parse_stream
from icm.errors import RecordError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Still:
    """One picture that is left of a segment: its first frame's record, which is an I record, and that one's header."""

    header: StreamHeader
    record: Record


class Stills:
    """The stills below a store's folder, and their rows. Thread-safe.

    Every method raises SQLAlchemyError where the database does not answer.
    """

    def __init__(self, root: Path, database: Engine) -> None:
        self._root, self._database = root, database

    def find(self, camera: str, epoch: int, sequence: int) -> Still | None:
        """What is left of a frame; None if it is no still, or its file cannot be read."""
        of = StillRow
        query = select(of.path).where(of.camera == camera, of.epoch == epoch, of.first_sequence == sequence)
        with self._database.connect() as connection:
            path = connection.scalar(query)
        return self._read(path) if path is not None else None

    def of_segment(self, camera: str, epoch: int, sequence: int) -> int | None:
        """The sequence of the still that is left of the segment that a deleted frame was in; None if none is."""
        of = StillRow
        nearest = (
            select(of.number, of.first_sequence)
            .where(of.camera == camera, of.epoch == epoch, of.first_sequence <= sequence)
            .order_by(of.first_sequence.desc())
            .limit(1)
        )
        with self._database.connect() as connection:
            row = connection.execute(nearest).first()
            if row is None:
                return None
            held = select(TombstoneRow.sequences).where(
                TombstoneRow.camera == camera, TombstoneRow.number == row.number
            )
            sequences = SequenceSet.from_text(connection.scalar(held) or "")
        return int(row.first_sequence) if sequence in sequences else None

    def note(self, camera: str, paths: Sequence[str]) -> None:
        """Enters key frames whose segments were deleted, as far as no row speaks of them.

        Args:
            camera: whose.
            paths: of the key frames, relative to the store's folder.
        """
        numbers = {number: path for path in paths if (number := _number(path)) is not None}
        with self._database.connect() as connection:
            of_these = select(StillRow.number).where(
                StillRow.camera == camera, StillRow.number.between(min(numbers, default=1), max(numbers, default=0))
            )
            known = set(connection.scalars(of_these))
        rows = [row for number, path in numbers.items() if number not in known and (row := self._row(number, path))]
        with transaction(self._database) as connection:
            add_rows(connection, StillRow, rows, (StillRow.number,))
        if rows:
            log.info("camera %s: %d pictures are left of deleted segments that the database lacked", camera, len(rows))

    def _row(self, number: int, path: str) -> dict[str, object] | None:
        if (still := self._read(path)) is None:
            return None
        header, record, file = still.header, still.record, (self._root / path).stat()
        left = Segment(header.camera, number, header.epoch, path, file.st_size, 1, record.capture_us, record.capture_us)
        # As near to when the records came as the disk says.
        left.arrived(file.st_mtime_ns // 1000)
        return {
            "camera": left.camera,
            "number": number,
            "epoch": left.epoch,
            "first_sequence": record.sequence,
            "kept_from_us": left.kept_from_us,
            "first_capture_us": left.first_capture_us,
            "last_capture_us": left.last_capture_us,
            "path": path,
            "bytes": file.st_size,
            "disk_bytes": file.st_blocks * BLOCK_BYTES,
        }

    def _read(self, path: str) -> Still | None:
        try:
            header, records = parse_stream((self._root / path).read_bytes())
            (record,) = records
        except (OSError, RecordError, ValueError) as error:
            log.warning("the still %s cannot be used: %s", path, error)
            return None
        if record.kind is not Kind.I or header.camera != Path(path).parts[0]:
            log.warning("the still %s is none of its camera's", path)
            return None
        return Still(header, record)


def _number(path: str) -> int | None:
    return number_of(Path(path).with_suffix(".icm").name)
