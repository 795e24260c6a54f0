"""Takes every camera's persisted records through the engine, in order and each one once.

The store itself is the queue: records are read back from its files (from the page cache, as a rule), so a slow detector
neither blocks persistence nor makes memory grow, and a restart goes on at the cursors kept in the database. One reader
per camera, ``live``, serves detector and archive alike. After a restart it begins with the segment that it was in, as
only a segment's start stands by itself, and that only if it begins with an I record or has a key; else with the nearest
one before: what was detected and rendered before is decoded, not detected or rendered again. Where
the archive could not be written, a second reader, ``catch-up``, renders from the missing segment on until it meets the
first.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.database.damage import trouble
from cloud_service.events.feed import EventFeed
from cloud_service.events.frame_key import FrameKey
from cloud_service.events.store import EventStore, FrameEvent, FrameSkipped
from cloud_service.feedback.broken_references import BrokenChains
from cloud_service.feedback.last_detections import NewestDetections
from cloud_service.metrics import Metrics
from cloud_service.processing.engine.decoding import LaneId
from cloud_service.processing.engine.engine import Engine, FrameResult, Result, Work
from cloud_service.store import Chunk, Position, RecordStore, Segment
from cloud_service.store.cursors import load_progress
from icm.errors import (
    CodecMismatchError,
    DetectorError,
    IcmError,
    NotFoundError,
    RecordError,
    ReferenceMissingError,
    StorageError,
)
from icm.service.clock import Clock
from icm.service.health import Problems
from icm.service.log_limit import LogLimit

log = logging.getLogger(__name__)
RETRY_SECONDS = 5.0
"""How long to wait before trying again what the disk or the database refused."""
_LIVE, _CATCH_UP = "live", "catch-up"


@dataclass
class _Lane:
    """One reader. It detects from ``detect_from`` on, or nothing if that is None, and renders from the segment
    ``archive_from`` on, if it does. Until it ``stands`` where reading can begin, ``position`` is what it is to reach.
    """

    id: LaneId
    position: Position
    detect_from: Position | None
    archive: bool
    archive_from: int
    not_before: float = 0.0
    stands: bool = False

    @property
    def detects(self) -> bool:
        return self.detect_from is not None and self.position >= self.detect_from

    @property
    def renders(self) -> bool:
        return self.archive and self.position.segment >= self.archive_from


class Pipeline:
    """The one thread that feeds the engine and writes down what comes out."""

    def __init__(
        self,
        store: RecordStore,
        engine: Engine,
        database: Database,
        feed: EventFeed,
        problems: Problems,
        metrics: Metrics,
        clock: Clock,
        chains: BrokenChains,
        detections: NewestDetections,
    ) -> None:
        """Args:
        chains: told of records that cannot be decoded.
        detections: told of frames that were looked at.
        """
        self._store = store
        self._engine = engine
        self._database = database
        self._events = EventStore(database)
        self._catalogue = VideoCatalogue(database)
        self._feed = feed
        self._problems = problems
        self._metrics = metrics
        self._clock = clock
        self._skips = LogLimit(log, logging.ERROR, clock)
        self._chains = chains
        self._detections = detections
        self._live: dict[str, _Lane] = {}
        self._catch_up: dict[str, _Lane] = {}
        self._turn = 0
        self._woken = threading.Event()
        self._draining = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There may be more to read."""
        self._woken.set()

    def stop(self, drain_seconds: float) -> None:
        """Goes on until everything readable is done or the time is up, then ends the videos under way."""
        self._draining.set()
        self._woken.set()
        self._thread.join(drain_seconds)
        self._stopping.set()
        self._woken.set()
        self._thread.join()
        self._skips.flush()
        for video in self._engine.flush():
            self._written(partial(self._catalogue.add_part, video))

    def backlog_bytes(self) -> dict[str, int]:
        """For each camera, the bytes of records that wait for the detector.

        Raises:
            StorageError: the database does not answer.
        """
        return {camera: self._store.bytes_after(camera, lane.position) for camera, lane in list(self._live.items())}

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            work = self._collect()
            if work:
                self._process(work)
            elif self._woken.is_set():
                continue
            elif self._draining.is_set():
                return
            else:
                self._woken.wait(RETRY_SECONDS)

    def _collect(self) -> list[tuple[_Lane, Work]]:
        """At most a batch of records, from as many lanes as there are; every lane gets its turn."""
        for camera in self._store.names():
            if camera not in self._live:
                self._open_camera(camera)
        now = self._clock.monotonic()
        lanes = [lane for lane in (*self._live.values(), *self._catch_up.values()) if lane.not_before <= now]
        self._turn += 1
        left = self._engine.batch
        work = []
        for index in range(len(lanes)):
            lane = lanes[(self._turn + index) % len(lanes)]
            share = -(-left // (len(lanes) - index))
            chunk = self._read(lane, share) if share else None
            if chunk is not None:
                left -= len(chunk.records)
                work.append((lane, Work(lane.id, chunk, lane.detects, lane.renders)))
        return work

    def _open_camera(self, camera: str) -> None:
        try:
            progress = load_progress(self._database, camera)
        except SQLAlchemyError as error:
            self._problems.report("database", trouble(error))
            return
        begun = progress.detect.segment
        start = Position(begun, 0)
        self._live[camera] = _Lane(LaneId(camera, _LIVE), start, progress.detect, archive=True, archive_from=begun)
        if progress.archive < begun:
            self._part(camera, progress.archive)

    def _part(self, camera: str, segment: int) -> _Lane:
        """Lets the archive of a camera be served from this segment on by a lane of its own."""
        self._live[camera].archive = False
        lane = _Lane(LaneId(camera, _CATCH_UP), Position(segment, 0), None, archive=True, archive_from=segment)
        self._catch_up[camera] = lane
        return lane

    def _join(self, camera: str) -> None:
        """Ends the catch-up lane where it meets the live one."""
        live, behind = self._live[camera], self._catch_up.get(camera)
        if behind is not None and behind.position == live.position:
            del self._catch_up[camera]
            live.archive = True

    def _read(self, lane: _Lane, limit: int) -> Chunk | None:
        camera = lane.id.camera
        try:
            chunk = self._chunk(lane, limit)
            if chunk is not None:
                self._engine.check(chunk)
            return chunk
        except CodecMismatchError as error:
            # A start with the right bundle goes on here; what was skipped would stay so.
            self._delay(lane, f"records of {camera}", error)
        except (RecordError, NotFoundError) as error:
            self._skip(lane, error)
        except StorageError as error:
            self._delay(lane, f"records of {camera}", error)
        return None

    def _chunk(self, lane: _Lane, limit: int) -> Chunk | None:
        camera = lane.id.camera
        if not lane.stands:
            lane.position = Position(self._store.standing(camera, lane.position.segment), 0)
            lane.stands = True
        if lane.detect_from is None:
            return self._store.read(camera, lane.position, limit, until=self._live[camera].position)
        if not lane.detects:
            again = self._store.read(camera, lane.position, limit, until=lane.detect_from)
            if again is not None:
                return again
            lane.position = lane.detect_from  # that segment's file is gone
        return self._store.read(camera, lane.position, limit)

    def _skip(self, lane: _Lane, problem: IcmError) -> None:
        """The segment that a lane would read next is lost."""
        camera = lane.id.camera
        try:
            segment = self._store.segment(camera, lane.position.segment)
        except StorageError as error:
            self._delay(lane, f"records of {camera}", error)
            return
        log.error("camera %s: skipping a segment: %s", camera, problem)
        self._metrics.records.labels(camera, "skipped").inc()
        if segment is not None and lane.detect_from is not None and segment.number >= lane.detect_from.segment:
            skipped = self._rest(segment, problem)
            if self._written(lambda: self._events.commit((), skipped, {})):
                self._feed.publish(skipped)
        lane.position = Position(lane.position.segment + 1, 0)
        self._join(camera)
        self._woken.set()

    def _process(self, work: Sequence[tuple[_Lane, Work]]) -> None:
        results = self._engine.process([item for _, item in work])
        events: list[FrameEvent] = []
        skipped: list[FrameSkipped] = []
        detected: dict[str, Position] = {}
        for (lane, item), result in zip(work, results, strict=True):
            lane.position = item.chunk.next
            if lane.detects:
                detected[lane.id.camera] = lane.position
            if item.detect:
                self._look_at(item.chunk, result.frames, events, skipped)
        if detected and not self._written(lambda: self._events.commit(events, skipped, detected)):
            return
        self._announce(events, skipped)
        for (lane, item), result in zip(work, results, strict=True):
            self._problems.clear(f"records of {lane.id.camera}")
            if item.archive and not self._archived(item.chunk, result):
                return
            self._join(lane.id.camera)

    def _look_at(
        self, chunk: Chunk, frames: Sequence[FrameResult], events: list[FrameEvent], skipped: list[FrameSkipped]
    ) -> None:
        """Adds to what was found, or will never be."""
        camera = chunk.header.camera
        if chunk.damage is not None:
            log.error("camera %s: the rest of segment %s is lost: %s", camera, chunk.segment.path, chunk.damage)
            self._metrics.records.labels(camera, "skipped").inc()
            read = {record.sequence for record in chunk.records}
            skipped.extend(frame for frame in self._rest(chunk.segment, chunk.damage) if frame.key.sequence not in read)
        for frame in frames:
            key = FrameKey(camera, chunk.header.epoch, frame.record.sequence)
            if frame.problem is not None:
                skipped.append(FrameSkipped(key, str(frame.problem)))
            if frame.detections is not None:
                self._problems.clear("detector")
                events.append(FrameEvent(key, frame.record.capture_us, self._engine.model, frame.detections))
            elif isinstance(frame.problem, DetectorError):
                self._metrics.detector_failures.labels(camera).inc()
                if self._problems.report("detector", str(frame.problem)):
                    log.error("frames go undetected: %s", frame.problem)
            elif frame.problem is not None:
                if isinstance(frame.problem, ReferenceMissingError):
                    self._chains.report(camera, chunk.header.epoch, frame.record.sequence)
                self._metrics.records.labels(camera, "skipped").inc()
                kind = f"{camera} {type(frame.problem).__name__}"
                self._skips.say(kind, f"camera {camera}: skipping record {frame.record.sequence}: {frame.problem}")

    def _rest(self, segment: Segment, problem: IcmError) -> list[FrameSkipped]:
        """The frames of a segment that cannot be read any more and were not looked at before."""
        unknown: list[FrameKey] = []
        self._written(lambda: unknown.extend(self._events.unknown(segment.camera, segment.epoch, segment.sequences)))
        return [FrameSkipped(key, str(problem)) for key in unknown]

    def _announce(self, events: Sequence[FrameEvent], skipped: Sequence[FrameSkipped]) -> None:
        now = self._clock.now_us()
        for event in events:
            camera = event.key.camera
            self._metrics.capture_to_detected.labels(camera).observe(max(0, now - event.capture_us) / 1e6)
            for found in event.detections:
                self._metrics.detections.labels(camera, found.class_name).inc()
        self._detections.note(events)
        self._feed.publish([*events, *skipped])

    def _archived(self, chunk: Chunk, result: Result) -> bool:
        camera, number = chunk.header.camera, chunk.segment.number
        if result.archive_error is not None:
            self._metrics.archive_failures.labels(camera).inc()
            self._delay(self._part(camera, number), f"archive of {camera}", result.archive_error)
        elif chunk.ended:
            if not self._written(lambda: self._catalogue.add_whole(camera, number, result.video)):
                return False
            self._problems.clear(f"archive of {camera}")
        return True

    def _delay(self, lane: _Lane, part: str, error: IcmError) -> None:
        lane.not_before = self._clock.monotonic() + RETRY_SECONDS
        if self._problems.report(part, str(error)):
            log.error("%s: %s; trying again every %g s", part, error, RETRY_SECONDS)

    def _written(self, write: Callable[[], None]) -> bool:
        """Writes to the database, again and again until it takes it; False if the service stops before."""
        while True:
            try:
                write()
            except SQLAlchemyError as error:
                if self._problems.report("database", trouble(error)):
                    log.error("the database refuses, trying again every %g s: %s", RETRY_SECONDS, trouble(error))
                if self._stopping.wait(RETRY_SECONDS):
                    return False
            else:
                self._problems.clear("database")
                return True
