"""One camera's part of the spool."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge_service.losses import DropReason
from edge_service.spool.epochs import begin_epoch, end_of_epoch
from edge_service.spool.file import SpoolFile
from edge_service.spool.quota import Dropped, SpoolQuota
from edge_service.spool.records import delete, first_waiting, restart_at_intra
from icm.codec.bitstream.record import Record, StreamHeader, is_intra
from icm.errors import RecordError, ReferenceMissingError
from icm.service.clock import Clock

INTRA_COPY_RECORDS = 64
"""Waiting records of a camera, none of which is an I record or has an intra copy, from which on the next one gets one:
the most of a camera's records that go together when the oldest must. Records are persisted long before, unless the
cloud is away."""
INTRA_COPY_SHARE = 1 / 16
"""The same, as a part of the spool's bound in bytes."""

REMEMBERED = 4096
"""Acknowledgements whose time is remembered until the cloud says in which of their frames it found something."""


@dataclass(frozen=True)
class Batch:
    """Some records in order of sequence, and the packed stream header that holds for all of them."""

    header: bytes
    records: list[tuple[int, bytes]]


class CameraSpool:
    """One camera's records. One thread appends; any may read and delete.

    Attributes:
        epoch: the camera's numbering, made when the spool first saw the camera.
        next_sequence: what the next record must be called.
        sent: the highest sequence that the cloud may have got from this spool.
        unusable: the highest sequence that neither the cloud has nor the spool: no record may refer to it.
    """

    def __init__(
        self,
        *,
        name: str,
        row: int,
        epoch: int,
        next_sequence: int,
        file: SpoolFile,
        room: SpoolQuota,
        clock: Clock,
        settle: Callable[[Dropped], None],
    ) -> None:
        """Creates the spool of one camera, in an open file.

        Args:
            row: the camera's, in the file.
            room: the spool's bounds.
            settle: called, after the transaction, with what was dropped so that others stay.
        """
        self.name, self._row = name, row
        self._file, self._room, self._clock, self._settle = file, room, clock, settle
        self.epoch = epoch
        self.next_sequence = next_sequence
        self.sent = next_sequence - 1
        self.unusable = 0
        self._since_intra = self._bytes_since_intra = 0
        self._header: StreamHeader | None = None
        self._persisted: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)

    def needs_intra_copy(self) -> bool:
        """Whether the next record, if it is a P record, must come with an intra copy: many wait, all P without one."""
        share = INTRA_COPY_SHARE * self._room.max_bytes
        if self._bytes_since_intra >= share and self.waiting_bytes >= share:
            return True
        if self._since_intra < INTRA_COPY_RECORDS:
            return False
        with self._file.reading() as connection:
            first = first_waiting(connection, self._row)
        return first is not None and first <= self.next_sequence - INTRA_COPY_RECORDS

    def append(self, sequence: int, header: bytes | None, record: bytes, intra_copy: bytes | None = None) -> None:
        """Keeps a packed record; on return it survives a power cut.

        Args:
            sequence: must be ``next_sequence``.
            header: the packed stream header that holds from this record on; None: the last one still does.
            intra_copy: the same frame as an I record, in case that a P record loses the one before it.

        Raises:
            ReferenceMissingError: the record refers to one that will never reach the cloud; code an I frame.
            SpoolFullError: there is no room, and the policy makes none; the sequence is not used up.
            SpoolError: the disk failed; likewise.
        """
        if sequence != self.next_sequence:
            raise ValueError(f"record {sequence} does not follow: the next is {self.next_sequence}")
        intra, size = is_intra(record), len(record) + len(intra_copy or b"")
        with self._file.writing(durable=True) as connection:
            dropped = self._room.make(connection, self._file.bytes, size)
            if not intra and sequence - 1 <= max(self.unusable, dropped.last.get(self.name, 0)):
                raise ReferenceMissingError(
                    f"record {sequence} of {self.name} refers to record {sequence - 1}, which is dropped"
                )
            holds = StreamHeader.parse(header)[0] if header is not None else self._header
            if header is not None or (holds is not None and holds.epoch != self.epoch):
                # One that was packed before an epoch began is of that one all the same.
                assert holds is not None
                holds = replace(holds, epoch=self.epoch)
                connection.execute(
                    "INSERT OR REPLACE INTO header VALUES (?, ?, ?)", (self._row, sequence, holds.pack())
                )
            connection.execute(
                "INSERT INTO record VALUES (?, ?, ?, ?)", (self._row, sequence, self._clock.now_us(), record)
            )
            if intra_copy is not None:
                connection.execute("INSERT INTO stand_in VALUES (?, ?, ?)", (self._row, sequence, intra_copy))
            connection.execute(
                "UPDATE camera SET next_sequence = ?, bytes = bytes + ? WHERE id = ?", (sequence + 1, size, self._row)
            )
        self._file.marks.note(self.name, self.epoch, sequence + 1)
        # Only this thread writes these.
        self._header = holds
        self.next_sequence = sequence + 1
        if intra or intra_copy is not None:
            self._since_intra = self._bytes_since_intra = 0
        else:
            self._since_intra, self._bytes_since_intra = self._since_intra + 1, self._bytes_since_intra + size
        self._file.resize(size)
        self._settle(dropped)

    def read(self, after: int, max_records: int, max_bytes: int) -> Batch | None:
        """The first records after a sequence that share a header, at least one however large; None if there is none."""
        with self._file.reading() as connection:
            first = connection.execute(
                "SELECT sequence FROM record WHERE camera = ? AND sequence > ? ORDER BY sequence LIMIT 1",
                (self._row, after),
            ).fetchone()
            if first is None:
                return None
            (header,) = connection.execute(
                "SELECT content FROM header WHERE camera = ? AND first_sequence <= ?"
                " ORDER BY first_sequence DESC LIMIT 1",
                (self._row, *first),
            ).fetchone()
            rows = connection.execute(
                "SELECT sequence, content FROM record WHERE camera = :camera AND sequence >= :first AND sequence <"
                " coalesce((SELECT min(first_sequence) FROM header WHERE camera = :camera AND first_sequence > :first),"
                " 1 << 62) ORDER BY sequence LIMIT :count",
                {"camera": self._row, "first": first[0], "count": max_records},
            )
            records: list[tuple[int, bytes]] = []
            size = 0
            for sequence, content in rows:
                size += len(content)
                if records and size > max_bytes:
                    break
                records.append((sequence, content))
            rows.close()
            return Batch(header, records)

    def begin_epoch(self) -> None:
        """Calls what was not sent yet, and all that follows, by a new epoch: under the present one somebody else, such
        as this spool before it was brought back from a copy, gave these sequences to other frames.
        """
        before = self.epoch
        try:
            with self._file.writing(durable=True) as connection:
                epoch = max(self._clock.now_us(), before + 1, self._file.marks.least_epoch(self.name))
                begin_epoch(connection, self._row, epoch, self.sent + 1)
                # Under the lock, so that no record is kept under the old one meanwhile.
                self.epoch = epoch
        except BaseException:
            # The disk keeps the old one.
            self.epoch = before
            raise
        self._file.marks.note(self.name, epoch, self.next_sequence)

    def end_of_epoch(self, epoch: int) -> int:
        """The last sequence that can be of an epoch that records wait of."""
        with self._file.reading() as connection:
            return end_of_epoch(connection, self._row, epoch, self.next_sequence)

    def holds(self, sequence: int) -> bool:
        """Whether the record is still here."""
        with self._file.reading() as connection:
            query = "SELECT 1 FROM record WHERE camera = ? AND sequence = ?"
            return connection.execute(query, (self._row, sequence)).fetchone() is not None

    def waiting_by_codec(self) -> tuple[int, int]:
        """How many records wait that are of the first one's codec, and how many behind them, from the first of another
        codec on.
        """
        with self._file.reading() as connection:
            headers = connection.execute(
                "SELECT first_sequence, content FROM header WHERE camera = ? ORDER BY first_sequence", (self._row,)
            ).fetchall()
            first = first_waiting(connection, self._row) or 0
            codecs = [(begins, StreamHeader.parse(content)[0].codec_id) for begins, content in headers]
            codec = next((codec for begins, codec in reversed(codecs) if begins <= first), b"")
            end = next((begins for begins, other in codecs if begins > first and other != codec), self.next_sequence)
            behind, all_of_them = connection.execute(
                "SELECT count(*) FILTER (WHERE sequence >= ?), count(*) FROM record WHERE camera = ?", (end, self._row)
            ).fetchone()
            return all_of_them - behind, behind

    def whole(self, sequence: int) -> bool:
        """Whether the record is here and its checksum fits."""
        batch = self.read(sequence - 1, 1, 0)
        if batch is None or batch.records[0][0] != sequence:
            return False
        try:
            return Record.parse_whole(batch.records[0][1], StreamHeader.parse(batch.header)[0]).sequence == sequence
        except RecordError:
            return False

    @property
    def waiting_bytes(self) -> int:
        """Size of the camera's records that wait."""
        with self._file.reading() as connection:
            (size,) = connection.execute("SELECT bytes FROM camera WHERE id = ?", (self._row,)).fetchone()
            return int(size)

    def empty(self) -> bool:
        """Whether no record waits."""
        return self.read(0, 1, 0) is None

    def last_persisted(self) -> int:
        """Highest persisted sequence that no record waits below; 0 for none."""
        with self._file.reading() as connection:
            (sequence,) = connection.execute(
                "SELECT min(last_persisted, coalesce((SELECT min(sequence) - 1 FROM record WHERE camera = id),"
                " last_persisted)) FROM camera WHERE id = ?",
                (self._row,),
            ).fetchone()
            return int(sequence)

    def persisted(self, first: int, last: int) -> None:
        """The cloud holds these records: they may go."""
        self._delete(first, last, last)

    def rejected(self, first: int, last: int) -> None:
        """The cloud will never take these records: they may go."""
        self._delete(first, last, 0)
        self.unusable = max(self.unusable, last)

    def restart_at_intra(self, after: int) -> None:
        """The cloud lacks the record ``after``, so the next one that waits must be an I record; those that cannot go,
        and are counted as rejected for it.
        """
        dropped = Dropped()
        with self._file.writing(durable=False) as connection:
            gone = restart_at_intra(connection, self._row, after)
        dropped.counts[self.name, DropReason.REJECTED_REFERENCE_MISSING] = gone.records
        dropped.bytes, dropped.last[self.name] = gone.bytes, gone.last
        self._settle(dropped)

    def detected(self, sequence: int) -> None:
        """The cloud found something in this frame, which it has persisted; only the policy ``keep_detections`` asks."""
        # The time of the last record of its acknowledgement.
        index = bisect_left(self._persisted, (sequence, 0))
        if self._room.policy == "keep_detections" and index < len(self._persisted):
            with self._file.writing(durable=False) as connection:
                connection.execute(
                    "INSERT INTO detection VALUES (:camera, :us) ON CONFLICT DO UPDATE SET spooled_us = :us",
                    {"camera": self._row, "us": self._persisted[index][1]},
                )

    def last_detection_us(self) -> int:
        """When the newest frame in which the cloud found something was spooled, in microseconds since 1970; 0 if none
        is known.
        """
        with self._file.reading() as connection:
            row = connection.execute("SELECT spooled_us FROM detection WHERE camera = ?", (self._row,)).fetchone()
            return int(row[0]) if row is not None else 0

    def _delete(self, first: int, last: int, persisted: int) -> None:
        with self._file.writing(durable=False) as connection:
            newest = connection.execute(
                "SELECT sequence, spooled_us FROM record WHERE camera = ? AND sequence BETWEEN ? AND ?"
                " ORDER BY sequence DESC LIMIT 1",
                (self._row, first, last),
            ).fetchone()
            gone = delete(connection, self._row, first, last)
            connection.execute(
                "UPDATE camera SET last_persisted = max(last_persisted, ?) WHERE id = ?", (persisted, self._row)
            )
        if newest is not None and persisted:
            self._persisted.append(newest)
        self._file.resize(-gone.bytes)
        self._file.shrink()
