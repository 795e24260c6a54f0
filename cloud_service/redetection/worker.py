"""Works jobs off, one after the other, while the live work leaves time for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from cloud_service.bundles import Bundles
from cloud_service.database.damage import trouble
from cloud_service.events.store import FrameEvent
from cloud_service.feedback.segment_leases import Renew, SegmentLeases
from cloud_service.processing.engine.base import LaneId, Work
from cloud_service.processing.engine.reuse import ReuseBound
from cloud_service.redetection.detection_process import DetectionProcess
from cloud_service.redetection.jobs import Counts, Job, RedetectionJobs, State, Unit
from cloud_service.redetection.messages import Start
from cloud_service.settings import CloudSettings, ReuseSettings
from cloud_service.sightings.relative_boxes import PictureSize
from cloud_service.store import Chunk, Position, RecordStore, Segment
from icm.codec.bitstream.record import Kind, Record
from icm.errors import CodecMismatchError, DetectorError, NotFoundError, RecordError, StorageError
from icm.frame_id import FrameId
from icm.service.health import Problems

log = logging.getLogger(__name__)
POLL_SECONDS = 2.0
"""How often the database is asked for jobs, and whether one was cancelled."""
_BUSY_SECONDS = 0.05
"""How soon after the live work it is looked again whether that is done."""
_RETRY_SECONDS = 5.0
_DEATHS = 3
"""A job whose process dies so often without a segment in between has failed."""
_PURPOSE = "re-detection"


@dataclass
class _Seen:
    """What became of a segment so far.

    Attributes:
        counts: of it.
        events: of its frames; None to decode them only.
        size: of its pictures; None before any was read.
    """

    counts: Counts
    events: list[FrameEvent] | None = None
    size: PictureSize | None = None


class Redetection:
    """One thread, which reads records and keeps results; a child process of its own decodes and detects."""

    def __init__(
        self,
        *,
        jobs: RedetectionJobs,
        store: RecordStore,
        bundles: Bundles,
        settings: CloudSettings,
        leases: SegmentLeases,
        is_idle: Callable[[], bool],
        problems: Problems,
    ) -> None:
        """Prepares the work.

        Args:
            leases: of the store's segments.
            is_idle: whether the live work has nothing to do; only then is any of this begun.
        """
        self._jobs, self._store, self._bundles, self._settings = jobs, store, bundles, settings
        self._leases, self._is_idle = leases, is_idle
        self._part = problems.part(_PURPOSE)
        self._stopping = threading.Event()
        self._process: DetectionProcess | None = None
        self._deaths = 0
        self._thread = threading.Thread(target=self._run, name=_PURPOSE, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Lets go of the segment that is under way; the next start begins it again."""
        self._stopping.set()
        if (process := self._process) is not None:
            process.kill()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            pause = POLL_SECONDS
            try:
                job = self._jobs.next()
                self._part.clear()
                if job is not None:
                    self._work_off(job)
                    pause = 0.0
            except SQLAlchemyError as error:
                pause = self._delayed(trouble(error))
            except StorageError as error:
                pause = self._delayed(str(error))
            self._stopping.wait(pause)

    def _work_off(self, job: Job) -> None:
        self._jobs.begin(job.id)
        log.info("re-detection %d goes on with %s", job.id, job.model)
        with DetectionProcess() as process:
            self._process = process
            try:
                job.weights.check_unchanged()
                process.load(self._start(job))
                if all(self._pass_through(job, unit, process) for unit in self._jobs.units(job.id)):
                    self._jobs.end(job.id, State.DONE)
                    log.info("re-detection %d is done", job.id)
            except DetectorError as error:
                if not self._stopping.is_set():
                    self._give_up(job, error, process.died)
            finally:
                self._process = None

    def _give_up(self, job: Job, error: DetectorError, died: bool) -> None:
        """Lets a job fail, unless its process died and another one may do better."""
        log.error("re-detection %d: %s", job.id, error)
        self._deaths = self._deaths + 1 if died else 0
        if not died or self._deaths >= _DEATHS:
            self._deaths = 0
            self._jobs.end(job.id, State.FAILED, str(error))
        else:
            self._stopping.wait(_RETRY_SECONDS)

    def _start(self, job: Job) -> Start:
        detector, reuse = job.weights.detector_settings(self._settings), None
        if job.changed:
            reuse = ReuseBound.of(detector.model_copy(update={"reuse": detector.reuse or ReuseSettings()}))
        return Start(
            bundles=tuple(self._settings.bundle_folders),
            detector=detector,
            reuse=reuse,
            device=self._settings.device,
            threads=self._settings.threads,
            folder=self._settings.store.folder,
        )

    def _pass_through(self, job: Job, unit: Unit, process: DetectionProcess) -> bool:
        """Looks at all that is left of a unit; False if the service stops, or the job was cancelled."""
        number, decoded = unit.next_segment, 0
        while (segment := self._store.segment(unit.camera, number)) and segment.number <= unit.last_segment:
            number = segment.number + 1
            if segment.last_capture_us < job.from_us or segment.first_capture_us >= job.to_us:
                continue
            seen = _Seen(Counts(done=1), [])
            with self._leases.segment(segment) as renew:
                if decoded != segment.number - 1 and not self._lead_up_to(job, segment, process, renew):
                    return False
                if not self._look_at(job, segment, process, seen, renew):
                    return False
            if not self._jobs.keep(job.id, segment, seen.size, seen.events or (), seen.counts):
                return False
            decoded = segment.number if not seen.counts.lost else 0
            self._deaths = 0
        return True

    def _lead_up_to(self, job: Job, segment: Segment, process: DetectionProcess, renew: Renew) -> bool:
        """Decodes what a segment needs before it, where it cannot be decoded by itself; False as ``_pass_through``."""
        number = self._store.decodable_from(segment.camera, segment.number)
        while (before := self._store.segment(segment.camera, number)) and before.number < segment.number:
            if not self._look_at(job, before, process, _Seen(Counts()), renew):
                return False
            number = before.number + 1
        return True

    def _look_at(self, job: Job, segment: Segment, process: DetectionProcess, seen: _Seen, renew: Renew) -> bool:
        """Adds what a segment's frames show, and what became of them; False as ``_pass_through``.

        Args:
            renew: says that the segment is still being read.
        """
        position, end = Position(segment.number, 0), Position(segment.number + 1, 0)
        while position < end:
            if not self._has_turn(job):
                return False
            renew()
            try:
                chunk = self._store.read(segment.camera, position, process.batch, until=end)
                if chunk is not None:
                    self._bundles.of(chunk.header.codec_id, f"segment {segment.path}")
            except (NotFoundError, RecordError, CodecMismatchError) as error:
                log.warning("re-detection %d leaves out the rest of a segment: %s", job.id, error)
                seen.counts.lost = 1
                break
            if chunk is None:
                break
            if chunk.damage is not None:
                log.warning("re-detection %d: the rest of segment %s is lost: %s", job.id, segment.path, chunk.damage)
                seen.counts.lost = 1
            self._add(job, chunk, process, seen)
            position = chunk.next
        return True

    def _add(self, job: Job, chunk: Chunk, process: DetectionProcess, seen: _Seen) -> None:
        """Has records of a segment decoded and looked at, and adds to what was found in it."""
        camera, epoch = chunk.segment.camera, chunk.header.epoch
        seen.size = PictureSize(chunk.header.width, chunk.header.height)
        counts, events = seen.counts, seen.events
        wanted = frozenset(record.sequence for record in chunk.records if _is_wanted(job, record))
        first = chunk.records[0] if chunk.starts and chunk.records else None
        result = process.look_at(
            Work(
                lane=LaneId(camera, _PURPOSE),
                segment=chunk.segment.number,
                header=chunk.header,
                records=tuple(chunk.records),
                starts=chunk.starts,
                ends=chunk.ended,
                keyframe=self._store.keyframes.read(chunk.segment, first) if first and first.kind is Kind.P else None,
                detect=events is not None,
                archive=False,
                wanted=wanted,
            )
        )
        if result.keyframe is not None:
            self._store.keyframes.keep(chunk.segment, chunk.header, result.keyframe)
        for frame in result.frames:
            if events is None or frame.sequence not in wanted:
                continue
            if frame.detections is None:
                counts.skipped += 1
                continue
            counts.frames += 1
            counts.looked_at += frame.reused_from is None and not frame.interpolated
            counts.objects += len(frame.detections)
            key = FrameId(camera, epoch, frame.sequence)
            events.append(FrameEvent(key, frame.capture_us, job.model, frame.detections))

    def _has_turn(self, job: Job) -> bool:
        """Waits until the live work has nothing to do; False if the service stops, or the job was cancelled."""
        waited = 0.0
        while not self._stopping.is_set():
            if self._is_idle():
                return True
            self._stopping.wait(_BUSY_SECONDS)
            waited += _BUSY_SECONDS
            if waited >= POLL_SECONDS:
                waited = 0.0
                if not self._jobs.is_open(job.id):
                    return False
        return False

    def _delayed(self, text: str) -> float:
        if self._part.report(text):
            log.error("re-detection: %s; trying again every %g s", text, _RETRY_SECONDS)
        return _RETRY_SECONDS


def _is_wanted(job: Job, record: Record) -> bool:
    return record.sequence % job.every == 0 and job.from_us <= record.capture_us < job.to_us
