"""What becomes of the engine's results: they are kept, cursors move, and feed, ingest and metrics learn of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.archive.rendering import RenderedVideo
from cloud_service.archive.writer import ArchiveWriter
from cloud_service.database.damage import trouble
from cloud_service.events.feed import EventFeed
from cloud_service.events.store import EventStore, FrameEvent, FrameSkipped
from cloud_service.feedback.broken_references import BrokenReferences
from cloud_service.feedback.last_detections import LastDetections
from cloud_service.live.hub import LiveHub
from cloud_service.metrics import Metrics
from cloud_service.processing.engine.base import FrameResult, Problem, Result, Work
from cloud_service.processing.lanes import RETRY_SECONDS, Lane, Lanes
from cloud_service.store import Chunk, Position, RecordStore, Segment
from icm.errors import DetectorError, IcmError, ReferenceMissingError, StorageError
from icm.frame_id import FrameId
from icm.service.clock import Clock
from icm.service.health import HealthPart, Problems
from icm.service.log_limit import LogLimit

log = logging.getLogger(__name__)


class Finished(NamedTuple):
    """Work that the engine has done: whose it is, what it was made of, and what came of it."""

    lane: Lane
    chunk: Chunk
    work: Work
    result: Result


class Outcomes:
    """Stores results and reports them. Belongs to the pipeline's thread."""

    def __init__(
        self,
        *,
        lanes: Lanes,
        model: str,
        store: RecordStore,
        database: Database,
        archive: ArchiveWriter,
        feed: EventFeed,
        problems: Problems,
        metrics: Metrics,
        clock: Clock,
        chains: BrokenReferences,
        detections: LastDetections,
        live: LiveHub,
        stopping: threading.Event,
    ) -> None:
        """Creates what stores the results of one detector.

        Args:
            model: the detector's name.
            chains: notified of records that cannot be decoded.
            detections: notified of frames that were looked at.
            live: shown the newest ones.
            stopping: once set, what the database refuses is not tried again.
        """
        self._lanes = lanes
        self._model = model
        self._store = store
        self._events = EventStore(database)
        self._catalogue = VideoCatalogue(database)
        self._archive = archive
        self._feed = feed
        self._problems = problems
        self._database_part = lanes.database_part
        self._detector_part = problems.part("detector")
        self._metrics = metrics
        self._clock = clock
        self._skips = LogLimit(log, logging.ERROR, clock)
        self._chains = chains
        self._detections = detections
        self._live = live
        self._stopping = stopping

    def take(self, finished: Sequence[Finished]) -> None:
        """Keeps results; events and cursors of all of them in one transaction."""
        events: list[FrameEvent] = []
        skipped: list[FrameSkipped] = []
        detected: dict[str, Position] = {}
        for lane, chunk, work, result in finished:
            if result.keyframe is not None:
                self._store.keyframes.keep(chunk.segment, chunk.header, result.keyframe)
            lane.position = chunk.next
            if lane.detects:
                detected[lane.id.camera] = lane.position
            if work.detect:
                self._look_at(chunk, result.frames, events, skipped)
                self._show(chunk, result)
        if detected and not self._written(lambda: self._events.commit(events, skipped, detected)):
            return
        self._announce(events, skipped)
        for lane, chunk, work, result in finished:
            lane.records.clear()
            if work.archive and not self._archived(chunk, result):
                return
            self._lanes.join(lane.id.camera)

    def lose_segment(self, lane: Lane, problem: IcmError) -> None:
        """The segment that a lane would read next cannot be read; the lane goes on behind it."""
        camera, number = lane.id.camera, lane.position.segment
        try:
            segment = self._store.segment(camera, number)
        except StorageError as error:
            self._lanes.delay(lane, lane.records, str(error))
            return
        log.error("camera %s: skipping a segment: %s", camera, problem)
        self._metrics.records.labels(camera, "skipped").inc()
        if segment is not None and lane.detect_from is not None and segment.number >= lane.detect_from.segment:
            skipped = self._rest(segment, problem)
            if self._written(lambda: self._events.commit((), skipped, {})):
                self._feed.publish(skipped)
        lane.position = Position(number + 1, 0)
        self._lanes.join(camera)

    def end(self, videos: Sequence[RenderedVideo]) -> None:
        """Keeps the videos that were under way when the engine ended; each will be rendered again and replaced."""
        self._skips.flush()
        for video in videos:
            try:
                written = self._archive.write(video)
            except StorageError as error:
                log.warning("the video of %s under way is left out: %s", video.camera, error)
            else:
                self._written(partial(self._catalogue.add_part, written))

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
            key = FrameId(camera, chunk.header.epoch, frame.sequence)
            if frame.problem is not None:
                skipped.append(FrameSkipped(key, frame.problem.text))
                self._count_problem(key, frame.problem)
            if frame.detections is not None:
                self._detector_part.clear()
                events.append(FrameEvent(key, frame.capture_us, self._model, frame.detections))
                self._metrics.reused_detections.labels(camera).inc(frame.reused_from is not None)
                self._metrics.interpolated_detections.labels(camera).inc(frame.interpolated)

    def _show(self, chunk: Chunk, result: Result) -> None:
        """Shows the newest frame to who watches: at once, whatever the database says."""
        if result.frames:
            frame = result.frames[-1]
            key = FrameId(chunk.header.camera, chunk.header.epoch, frame.sequence)
            self._live.show(key, frame.capture_us, result.picture, frame.detections, frame.reused_from)

    def _count_problem(self, key: FrameId, problem: Problem) -> None:
        if problem.reason == DetectorError.reason:
            self._metrics.detector_failures.labels(key.camera).inc()
            if self._detector_part.report(problem.text):
                log.error("frames go undetected: %s", problem.text)
            return
        if problem.reason == ReferenceMissingError.reason:
            self._chains.report(key.camera, key.epoch, key.sequence)
        self._metrics.records.labels(key.camera, "skipped").inc()
        self._skips.say(
            f"{key.camera} {problem.reason}", f"camera {key.camera}: skipping record {key.sequence}: {problem.text}"
        )

    def _rest(self, segment: Segment, problem: IcmError) -> list[FrameSkipped]:
        """The frames of a segment that cannot be read any more and were not looked at before."""
        unknown: list[FrameId] = []
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
        """Keeps what was rendered of a segment; False if the service stops before the database knows of it."""
        camera, number = chunk.header.camera, chunk.segment.number
        if result.archive_problem is not None:
            self._render_again(camera, number, result.archive_problem.text)
        elif chunk.ended:
            try:
                video = self._archive.write(result.video) if result.video is not None else None
            except StorageError as error:
                self._render_again(camera, number, str(error))
                return True
            if not self._written(lambda: self._catalogue.add_whole(camera, number, video)):
                return False
            self._archive_part(camera).clear()
        return True

    def _render_again(self, camera: str, number: int, text: str) -> None:
        self._metrics.archive_failures.labels(camera).inc()
        self._lanes.delay(self._lanes.render_again(camera, number), self._archive_part(camera), text)

    def _archive_part(self, camera: str) -> HealthPart:
        return self._problems.part("archive", camera)

    def _written(self, write: Callable[[], None]) -> bool:
        """Writes to the database, again and again until it takes it; False if the service stops before."""
        while True:
            try:
                write()
            except SQLAlchemyError as error:
                if self._database_part.report(trouble(error)):
                    log.error("the database refuses, trying again every %g s: %s", RETRY_SECONDS, trouble(error))
                if self._stopping.wait(RETRY_SECONDS):
                    return False
            else:
                self._database_part.clear()
                return True
