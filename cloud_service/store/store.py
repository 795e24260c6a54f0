"""The record store: every camera's records, each exactly once, on the disk before it is acknowledged."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from cloud_service.store import reading
from cloud_service.store.chains import Found, find_chain
from cloud_service.store.index import Change, IndexWriter, SegmentIndex, State
from cloud_service.store.index.camera_log import CameraLog
from cloud_service.store.index.deleted import DeletedSegments
from cloud_service.store.index.lookup import SegmentLookup, index_answers
from cloud_service.store.keyframes import SegmentKeyframes
from cloud_service.store.position import Position
from cloud_service.store.reading import Chunk
from cloud_service.store.recovery import recover
from cloud_service.store.segment import OpenSegment, Segment
from cloud_service.store.sequences import SequenceSet
from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.errors import FrameDeletedError, NotFoundError, RecordError, StorageError, storage_error
from icm.folders import make_folder
from icm.frame_id import FrameId
from icm.service.clock import Clock

log = logging.getLogger(__name__)


class RawRecord(NamedTuple):
    """A record and the very bytes it was parsed from."""

    record: Record
    packed: bytes


@dataclass(frozen=True)
class CameraSummary:
    """What is stored of a camera: its name, records, bytes, and capture times in microseconds since 1970."""

    camera: str
    records: int
    bytes: int
    first_capture_us: int
    last_capture_us: int


class RecordStore:
    """Append-only segment files below one folder. Thread-safe: one thread at a time appends to a camera, any reads.

    Nothing may be appended while segments are sealed.

    Attributes:
        keyframes: of the segments that begin with a P record.
        stills: left of some of those that went.
        deleted: what is here no more, and by which rule.
        unreadable: by camera, what is wrong with each file that could not be read at the start, or not to its end.
        read_at_start: by camera, numbers of the segments that were read from their files then.
    """

    def __init__(
        self,
        root: Path,
        index: SegmentIndex,
        segment_seconds: float,
        clock: Clock,
        check_owned: Callable[[], None] = lambda: None,
        on_sealed: Callable[[Segment], None] = lambda segment: None,
    ) -> None:
        """Opens the store, which this process owns, and repairs what a crash left behind.

        Args:
            check_owned: asked before anything is written; raises a StorageError if the store is this process's no more.
            on_sealed: called with every segment that is sealed, before the index knows of it.

        Raises:
            StorageError: the folder or the index cannot be used.
        """
        self._root, self._check_owned = root, check_owned
        self._seconds, self._on_sealed = segment_seconds, on_sealed
        self._clock = clock
        self._lock = threading.Lock()
        self.keyframes, self.stills = SegmentKeyframes(root, check_owned), index.stills(root)
        try:
            make_folder(root)
            with index_answers():
                recovered = recover(root, index)
        except OSError as error:
            raise storage_error(error, error.filename or root) from None
        self.unreadable = {camera: found.unreadable for camera, found in recovered.items() if found.unreadable}
        self.read_at_start = {camera: found.read for camera, found in recovered.items() if found.read.last}
        self._logs = {camera: found.log for camera, found in recovered.items()}
        self._segments = SegmentLookup(index, self._logs, self._lock)
        self.deleted = DeletedSegments(root, check_owned)
        for camera, found in recovered.items():
            self.keyframes.count(camera, found.keyframes)
        self._indexing = IndexWriter(index, self._indexed)
        self._indexing.write([change for found in recovered.values() for change in found.unwritten])

    def append(self, header: StreamHeader, records: Sequence[RawRecord]) -> list[bool]:
        """Puts records on the disk; returns, for each, whether it is new (False: it was there already).

        Raises:
            StorageFullError: the disk is full; the records that did not get there can be appended again.
            StorageError: the disk refused otherwise, or the store is this process's no more; the same holds.
        """
        self._check_owned()
        camera_log = self._log(header.camera)
        try:
            return self._append(camera_log, header, records)
        except OSError as error:
            self._abandon(camera_log)
            raise storage_error(error, self._root / header.camera) from None

    def holds(self, camera: str, epoch: int, sequence: int) -> bool:
        """Whether the record is persisted."""
        with self._lock:
            return camera in self._logs and self._logs[camera].holds(epoch, sequence)

    def newest(self, camera: str, epoch: int) -> int:
        """The sequence of the camera's newest record, if that is of this epoch; else 0."""
        with self._lock:
            newest = self._logs[camera].newest if camera in self._logs else None
            return newest.sequences.last if newest is not None and newest.epoch == epoch else 0

    def newest_frame(self, camera: str) -> FrameId | None:
        """The camera's newest record; None if it has none, or what is newest was deleted."""
        with self._lock:
            newest = self._logs[camera].newest if camera in self._logs else None
            return FrameId(camera, newest.epoch, newest.sequences.last) if newest and newest.sequences.last else None

    def newest_capture_us(self, camera: str) -> int | None:
        """The latest capture time of the camera's records, microseconds since 1970; None if it has none."""
        with self._lock:
            return self._logs[camera].last_capture_us if camera in self._logs and self._logs[camera].records else None

    def resume_after(self, camera: str, epoch: int, acknowledged: int) -> int:
        """The last sequence of the unbroken run of persisted records that follows ``acknowledged``."""
        with self._lock:
            held = self._held(camera, epoch)
            return held.end_of_run(acknowledged) if held is not None else acknowledged

    def highest(self, camera: str, epoch: int) -> int:
        """The highest sequence of the epoch that is persisted; 0 if there is none."""
        with self._lock:
            held = self._held(camera, epoch)
            return held.last if held is not None else 0

    def seal_aged(self) -> bool:
        """Seals segments that are open for as long as a segment lasts; returns whether there were any.

        So a camera that fell silent has a finished segment too.
        """
        now = self._clock.monotonic()
        with self._lock:
            logs = list(self._logs.values())
        aged = [of for of in logs if of.open is not None and now - of.opened_at >= self._seconds]
        for camera_log in aged:
            self._seal(camera_log)
        self._indexing.go_on()
        return bool(aged)

    def removable(self, camera: str, numbers: Iterable[int]) -> set[int]:
        """Those segments of which the index says all that there is to say."""
        with self._lock:
            return {number for number in numbers if number not in self._logs[camera].unwritten}

    def remove(self, camera: str, segments: Sequence[Segment]) -> None:
        """Forgets segments that are gone from the index; their files may go from now on.

        Raises:
            StorageError: the database does not answer; they are forgotten all the same.
        """
        with self._lock:
            self._logs[camera].remove(segments, None)
        oldest = self._segments.first_from(camera, 0)
        with self._lock:
            self._logs[camera].remove((), oldest.first_capture_us if oldest is not None else None)

    def close(self) -> None:
        """Seals every open segment; the index knows them all when this returns."""
        for camera_log in self._logs.values():
            if camera_log.open is not None:
                self._seal(camera_log)
        self._indexing.close()

    def names(self) -> list[str]:
        """The cameras that have records."""
        with self._lock:
            return sorted(name for name, camera_log in self._logs.items() if camera_log.records)

    def cameras(self) -> list[CameraSummary]:
        """All cameras that have records, by name."""
        with self._lock:
            return [
                CameraSummary(name, of.records, of.bytes, of.first_capture_us, of.last_capture_us)
                for name, of in sorted(self._logs.items())
                if of.records
            ]

    def bytes_after(self, camera: str, position: Position) -> int:
        """Bytes of records that follow a position.

        Raises:
            StorageError: the database does not answer.
        """
        return self._segments.bytes_after(camera, position)

    def read(self, camera: str, position: Position, limit: int, until: Position | None = None) -> Chunk | None:
        """The next records of one segment, at most ``limit``, or None if there is nothing to report yet.

        Args:
            until: stop here.

        Raises:
            NotFoundError: the segment's file is gone.
            RecordError: its header is damaged.
            StorageError: it cannot be read just now, or the database does not answer.
        """
        segment = self.segment(camera, position.segment)
        if segment is None:
            return None
        size, sealed = segment.size, segment.sealed
        offset = position.offset if segment.number == position.segment else 0
        end = min(size, until.offset) if until is not None and until.segment == segment.number else size
        if until is not None and Position(segment.number, offset) >= until:
            return None
        return reading.read(self._root, segment, offset, end, sealed and end == size, limit)

    def find(self, camera: str, epoch: int, sequence: int) -> Found:
        """The record and, before it, those that it needs to be decoded: from the last I record or keyframe on.

        Raises:
            NotFoundError: it is not here; a FrameDeletedError if it was.
            StorageError: its file cannot be read, or the database does not answer.
            StoredDamageError: its file holds something else.
            ReferenceMissingError: one that it needs is not here.
            BusyError: it needs more of them than one call decodes; keyframes are made as the detector comes by.
        """
        if (segment := self._segments.holder(camera, epoch, sequence)) is None:
            raise self.absent(camera, epoch, sequence)
        try:
            return find_chain(self._root, segment, sequence, self.keyframes, self._segments.holder)
        except StorageError as error:
            gone = self.absent(camera, epoch, sequence)
            raise (gone if isinstance(gone, FrameDeletedError) else error) from None

    def record(self, camera: str, epoch: int, sequence: int) -> tuple[Segment, Record]:
        """A record as it arrived, and the segment that holds it; raises as ``find`` does."""
        if (segment := self._segments.holder(camera, epoch, sequence)) is None:
            raise self.absent(camera, epoch, sequence)
        return segment, reading.find(self._root, segment, sequence).records[-1]

    def before(self, camera: str, number: int) -> Segment | None:
        """The camera's last segment before this number; raises StorageError where the database does not answer."""
        return next(self._segments.back_from(camera, number - 1), None)

    def absent(self, camera: str, epoch: int, sequence: int) -> NotFoundError:
        """Why there is no such record: a FrameDeletedError if there was one.

        Raises:
            StorageError: by which rule it was deleted cannot be read.
        """
        with self._lock:
            deleted = camera in self._logs and sequence in self._logs[camera].deleted.get(epoch, SequenceSet())
        if deleted:
            return self.deleted.error(camera, epoch, sequence)
        return NotFoundError(f"there is no frame {sequence} of camera {camera!r}, epoch {epoch}")

    def holder(self, camera: str, epoch: int, sequence: int) -> Segment | None:
        """The segment that holds a record, as it is now.

        Raises:
            StorageError: the database does not answer.
        """
        return self._segments.holder(camera, epoch, sequence)

    def decodable_from(self, camera: str, number: int) -> int:
        """The nearest segment, at or before this one, that can be read by itself; where there is none, this one.

        Raises:
            StorageError: the database does not answer.
        """
        for segment in self._segments.back_from(camera, number):
            try:
                first = reading.first(self._root, segment)
            except (NotFoundError, StorageError, RecordError):
                break
            if first.kind is Kind.I or self.keyframes.read(segment, first) is not None:
                return segment.number
        return number

    def segment(self, camera: str, number: int) -> Segment | None:
        """The camera's first segment from this number on, as it is now.

        Raises:
            StorageError: the database does not answer.
        """
        return self._segments.first_from(camera, number)

    def captured_between(self, camera: str, from_us: int, to_us: int) -> list[Segment]:
        """The camera's segments that hold frames captured from ``from_us`` on and before ``to_us``, by capture time;
        those whose files are gone are among them.

        Raises:
            StorageError: the database does not answer.
        """
        return self._segments.captured_between(camera, from_us, to_us)

    def header(self, segment: Segment) -> StreamHeader:
        """The header of a segment's file; raises as ``read`` does."""
        return reading.header(self._root, segment)

    def _indexed(self, changes: Sequence[Change]) -> None:
        """The index says now what these changes do."""
        with self._lock:
            for camera, of_camera in groupby(changes, key=lambda change: change.camera):
                self._logs[camera].written(list(of_camera))

    def _log(self, camera: str) -> CameraLog:
        with self._lock:
            return self._logs.setdefault(camera, CameraLog())

    def _held(self, camera: str, epoch: int) -> SequenceSet | None:
        return self._logs[camera].held.get(epoch) if camera in self._logs else None

    def _append(self, camera_log: CameraLog, header: StreamHeader, records: Sequence[RawRecord]) -> list[bool]:
        outcomes: list[bool] = []
        batch: list[RawRecord] = []
        pending: set[int] = set()
        held = camera_log.held.get(header.epoch, SequenceSet())
        for raw in records:
            sequence, capture_us = raw.record.sequence, raw.record.capture_us
            outcomes.append(sequence not in held and sequence not in pending)
            if not outcomes[-1]:
                continue
            segment = camera_log.open
            if segment is None or not segment.fits(header, capture_us, self._seconds):
                # What is written so far must be on the disk before the next file is: only the newest may be torn.
                self._flush(camera_log, batch)
                batch = []
                self._roll(camera_log, header, capture_us)
            batch.append(raw)
            pending.add(sequence)
        self._flush(camera_log, batch)
        return outcomes

    def _flush(self, camera_log: CameraLog, batch: Sequence[RawRecord]) -> None:
        segment = camera_log.open
        if segment is None or not batch:
            return
        data = b"".join(raw.packed for raw in batch)
        segment.append(data)
        with self._lock:
            if segment.info.records == 0:
                camera_log.add(segment.info)
            segment.info.grow([raw.record for raw in batch], len(data))
            camera_log.count_growth([raw.record.sequence for raw in batch], len(data))

    def _roll(self, camera_log: CameraLog, header: StreamHeader, capture_us: int) -> None:
        if camera_log.open is not None:
            self._seal(camera_log)
        camera_log.open = OpenSegment(self._root, header, camera_log.next_number, capture_us)
        camera_log.opened_at = self._clock.monotonic()

    def _seal(self, camera_log: CameraLog) -> None:
        segment = camera_log.open
        assert segment is not None
        with self._lock:
            segment.seal(self._clock.now_us())
            self._sealed(camera_log, segment.info)
        self._tell_index(segment.info)

    def _abandon(self, camera_log: CameraLog) -> None:
        segment = camera_log.open
        if segment is not None:
            with self._lock:
                kept = segment.abandon(self._clock.now_us())
                if kept:
                    self._sealed(camera_log, segment.info)
                camera_log.open = None
            if kept:
                self._tell_index(segment.info)

    def _sealed(self, camera_log: CameraLog, segment: Segment) -> None:
        camera_log.unwritten[segment.number] = segment
        camera_log.open = None

    def _tell_index(self, segment: Segment) -> None:
        self._on_sealed(segment)
        self._indexing.write([Change(segment.camera, segment.number, segment, State.WHOLE)])
