"""The engine in this process: one worker, which puts what waits for it into batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from prometheus_client import Histogram

from cloud_service.archive.rendering import RenderedVideo, SegmentRenderer
from cloud_service.detection.base import Detection, Detector
from cloud_service.processing.engine.base import FrameResult, Problem, Result, Work
from cloud_service.processing.engine.decoding import BatchDecoder, Decoded, Picture
from icm.errors import DetectorError, IcmError, StorageError
from icm.service.telemetry import timed

_BATCH_WITHOUT_DETECTOR = 4
_BATCHES_AT_ONCE = 2
"""While one is worked on, the next one is read from the disk."""

_Looked = tuple[Detection, ...] | Problem | None


class InProcessEngine:
    """See ``Engine``."""

    def __init__(
        self,
        *,
        decoder: BatchDecoder,
        detector: Detector | None,
        renderer: SegmentRenderer,
        stage_seconds: Histogram,
    ) -> None:
        self._decoder = decoder
        self._detector = detector
        self._renderer = renderer
        self._decode_seconds = stage_seconds.labels("decode")
        self._detect_seconds = stage_seconds.labels("detect")
        self._archive_seconds = stage_seconds.labels("archive")
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
            decoded = self._decoder.decode(works)
        looked = self._look_at(works, decoded)
        results = []
        for work, (pictures, keyframe), found in zip(works, decoded, looked, strict=True):
            frames = tuple(
                FrameResult(
                    record.sequence,
                    record.capture_us,
                    detections=seen if isinstance(seen, tuple) else None,
                    problem=seen if isinstance(seen, Problem) else None,
                )
                for record, seen in zip(work.records, found, strict=True)
            )
            video, problem = None, None
            if work.archive:
                try:
                    video = self._render(work, pictures)
                except StorageError as error:
                    self._renderer.discard(work.lane.camera)
                    problem = Problem.of(error)
            results.append(Result(frames, keyframe, video, problem))
        return results

    def _look_at(self, works: Sequence[Work], decoded: Sequence[Decoded]) -> list[list[_Looked]]:
        """For each record of each work, what was found in its frame, or why nobody looked, if that was the plan."""
        wanted = [
            picture
            for work, (pictures, _) in zip(works, decoded, strict=True)
            for picture in pictures
            if work.detect and not isinstance(picture, IcmError)
        ]
        seen = iter(self._detect(wanted))
        return [
            [
                Problem.of(picture) if isinstance(picture, IcmError) else next(seen) if work.detect else None
                for picture in pictures
            ]
            for work, (pictures, _) in zip(works, decoded, strict=True)
        ]

    def _detect(self, pictures: Sequence[Picture]) -> Sequence[_Looked]:
        if self._detector is None or not pictures:
            return [None] * len(pictures)
        try:
            with timed(self._detect_seconds):
                found = self._detector.detect(pictures)
        except DetectorError as error:
            return [Problem.of(error)] * len(pictures)
        return [tuple(detections) for detections in found]

    def _render(self, work: Work, pictures: Sequence[Picture | IcmError]) -> RenderedVideo | None:
        camera = work.lane.camera
        for record, picture in zip(work.records, pictures, strict=True):
            if not isinstance(picture, IcmError):
                with timed(self._archive_seconds):
                    self._renderer.add(camera, work.segment, picture, record.capture_us)
        return self._renderer.finish(camera) if work.ends else None
