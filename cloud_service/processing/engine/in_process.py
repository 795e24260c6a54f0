"""The engine in this process: one worker, which puts what waits for it into batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from prometheus_client import Histogram

from cloud_service.archive.rendering import RenderedVideo, SegmentRenderer
from cloud_service.detection.base import Detector
from cloud_service.processing.engine.base import FrameResult, Problem, Result, Work
from cloud_service.processing.engine.decoding import BatchDecoder, Decoded, Picture, stream_key
from cloud_service.processing.engine.reuse import Look, Looks, ReuseBound
from icm.codec.bitstream.record import Record
from icm.codec.latents.latents import Latents
from icm.errors import DetectorError, IcmError, StorageError
from icm.service.telemetry import timed

_BATCH_WITHOUT_DETECTOR = 4
_BATCHES_AT_ONCE = 2
"""While one is worked on, the next one is read from the disk."""


class InProcessEngine:
    """See ``Engine``."""

    def __init__(
        self,
        *,
        decoder: BatchDecoder,
        detector: Detector | None,
        renderer: SegmentRenderer,
        stage_seconds: Histogram,
        reuse: ReuseBound | None = None,
    ) -> None:
        """Starts the worker.

        Args:
            reuse: which frames take over the detections of one before; None if each is looked at.
        """
        self._decoder = decoder
        self._detector = detector
        self._renderer = renderer
        self._decode_seconds = stage_seconds.labels("decode")
        self._synthesis_seconds = stage_seconds.labels("synthesis")
        self._detect_seconds = stage_seconds.labels("detect")
        self._archive_seconds = stage_seconds.labels("archive")
        self._looks = Looks(reuse)
        self._waiting: deque[tuple[Work, Future[Result]]] = deque()
        self._worker = ThreadPoolExecutor(1, "engine")

    @property
    def model(self) -> str:
        return self._detector.model if self._detector is not None else ""

    @property
    def batch(self) -> int:
        return self._detector.batch if self._detector is not None else _BATCH_WITHOUT_DETECTOR

    @property
    def capacity(self) -> int:
        return _BATCHES_AT_ONCE * self.batch

    def check(self, codec_id: bytes, what: str) -> None:
        """See ``Engine.check``."""
        self._decoder.check(codec_id, what)

    def submit(self, work: Work) -> Future[Result]:
        """See ``Engine.submit``."""
        future: Future[Result] = Future()
        self._waiting.append((work, future))
        self._worker.submit(self._take_turn)
        return future

    def close(self) -> list[RenderedVideo]:
        """See ``Engine.close``."""
        self._worker.shutdown()
        videos = (self._renderer.finish(camera) for camera in self._renderer.under_way())
        return [video for video in videos if video is not None]

    def _take_turn(self) -> None:
        """Works on the next batch, if an earlier turn has not taken all that waited."""
        batch = self._next_batch()
        if not batch:
            return
        try:
            results = self._process([work for work, _ in batch])
        except BaseException as error:
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)

    def _next_batch(self) -> list[tuple[Work, Future[Result]]]:
        """What waits, in its order, up to a batch of records."""
        taken: list[tuple[Work, Future[Result]]] = []
        records = 0
        while self._waiting and (not taken or records + len(self._waiting[0][0].records) <= self.batch):
            work, future = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                taken.append((work, future))
                records += len(work.records)
        return taken

    def _process(self, works: Sequence[Work]) -> list[Result]:
        with timed(self._decode_seconds):
            decoded = [self._decoder.decode(work) for work in works]
        looks = [self._looks_at(work, frames) for work, (frames, _) in zip(works, decoded, strict=True)]
        with timed(self._synthesis_seconds):
            pictures = [self._pictures(*of) for of in zip(works, decoded, looks, strict=True)]
        self._detect(
            [
                (look, picture)
                for work, seen, shown in zip(works, looks, pictures, strict=True)
                for record, look, picture in zip(work.records, seen, shown, strict=True)
                if look is not None and look.sequence == record.sequence and picture is not None
            ]
        )
        results = []
        for work, (frames, keyframe), seen, shown in zip(works, decoded, looks, pictures, strict=True):
            found = tuple(_frame_result(*of) for of in zip(work.records, frames, seen, strict=True))
            video, problem = None, None
            if work.archive:
                try:
                    video = self._render(work, shown)
                except StorageError as error:
                    self._renderer.discard(work.lane.camera)
                    problem = Problem.of(error)
            picture = shown[-1] if work.watched and shown else None
            results.append(Result(found, keyframe, video, problem, picture))
        return results

    def _looks_at(self, work: Work, frames: Sequence[Latents | IcmError]) -> list[Look | None]:
        """For each frame, the look that tells what is in it; None if nobody looks."""
        return [
            None
            if self._detector is None or not work.looks_at(record) or isinstance(latents, IcmError)
            else self._looks.at(
                work.lane,
                stream_key(work.header),
                record,
                latents,
                self._decoder.inverse_gains(work, latents.quality),
            )
            for record, latents in zip(work.records, frames, strict=True)
        ]

    def _pictures(self, work: Work, decoded: Decoded, looks: Sequence[Look | None]) -> list[Picture | None]:
        """The pictures that are rendered, looked at or shown."""
        return [
            self._decoder.picture(work, latents)
            if not isinstance(latents, IcmError)
            and (
                work.archive
                or (look is not None and look.sequence == record.sequence)
                or (work.watched and record is work.records[-1])
            )
            else None
            for record, latents, look in zip(work.records, decoded.frames, looks, strict=True)
        ]

    def _detect(self, wanted: Sequence[tuple[Look, Picture]]) -> None:
        """Looks at pictures, and notes what was found in them, or why it was not."""
        if self._detector is None or not wanted:
            return
        try:
            with timed(self._detect_seconds):
                found = self._detector.detect([picture for _, picture in wanted])
        except DetectorError as error:
            for look, _ in wanted:
                look.found = Problem.of(error)
            self._looks.forget_failed()
            return
        for (look, _), detections in zip(wanted, found, strict=True):
            look.found = tuple(detections)

    def _render(self, work: Work, pictures: Sequence[Picture | None]) -> RenderedVideo | None:
        camera = work.lane.camera
        for record, picture in zip(work.records, pictures, strict=True):
            if picture is not None:
                with timed(self._archive_seconds):
                    self._renderer.add(camera, work.segment, picture, record.capture_us)
        return self._renderer.finish(camera) if work.ends else None


def _frame_result(record: Record, latents: Latents | IcmError, look: Look | None) -> FrameResult:
    if isinstance(latents, IcmError):
        return FrameResult(record.sequence, record.capture_us, problem=Problem.of(latents))
    if look is None:
        return FrameResult(record.sequence, record.capture_us)
    if isinstance(look.found, Problem):
        return FrameResult(record.sequence, record.capture_us, problem=look.found)
    reused_from = look.sequence if look.sequence != record.sequence else None
    return FrameResult(record.sequence, record.capture_us, look.found, reused_from=reused_from)
