"""The engine in this process: one worker, which puts what waits for it into batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeGuard

from prometheus_client import Histogram

from cloud_service.archive.rendering import RenderedVideo, SegmentRenderer
from cloud_service.detection.base import Detector
from cloud_service.processing.engine.base import FrameResult, Problem, Result, Work
from cloud_service.processing.engine.decoding import BatchDecoder, Decoded, Picture, stream_key
from cloud_service.processing.engine.interpolation import Gap, gaps
from cloud_service.processing.engine.reuse import Look, Looks, ReuseBound
from icm.codec.bitstream.record import Record
from icm.codec.latents.latents import Latents
from icm.errors import DetectorError, IcmError, StorageError
from icm.service.telemetry import timed

_BATCH_WITHOUT_DETECTOR = 4
_BATCHES_AT_ONCE = 2
"""While one is worked on, the next one is read from the disk."""
_TOGETHER = 10
"""Records of a camera, where boxes are interpolated between the frames that are looked at: half a second or a whole
one at usual rates. More would hold the results of the first ones up for longer."""


@dataclass
class _Piece:
    """A piece of work under way.

    Attributes:
        looks: of each frame, the look that tells what is in it; None if nobody looks.
        pictures: of each frame, where there is one by now, without grain.
        gaps: that are not settled yet, in the order of their frames.
    """

    work: Work
    decoded: Decoded
    looks: list[Look | None]
    pictures: list[Picture | None]
    gaps: deque[Gap]


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
        self._reuse, self._looks = reuse, Looks(reuse)
        self._waiting: deque[tuple[Work, Future[Result]]] = deque()
        self._worker = ThreadPoolExecutor(1, "engine")

    @property
    def model(self) -> str:
        return self._detector.model if self._detector is not None else ""

    @property
    def batch(self) -> int:
        return max(self.together, self._at_once)

    @property
    def together(self) -> int:
        """See ``Engine.together``."""
        return _TOGETHER if self._detector is not None and self._reuse is not None and self._reuse.gap_seconds else 1

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

    @property
    def _at_once(self) -> int:
        """Pictures that the detector is given at once, at most."""
        return self._detector.batch if self._detector is not None else _BATCH_WITHOUT_DETECTOR

    def _process(self, works: Sequence[Work]) -> list[Result]:
        with timed(self._decode_seconds):
            decoded = [self._decoder.decode(work) for work in works]
        pieces = [self._piece(*of) for of in zip(works, decoded, strict=True)]
        with timed(self._synthesis_seconds):
            for piece in pieces:
                self._make_pictures(piece)
        wanted = [(piece, gap.end) for piece in pieces for gap in piece.gaps]
        while wanted:
            self._detect(wanted)
            wanted = [(piece, look) for piece in pieces if (look := _settle(piece.gaps)) is not None]
        self._looks.forget_failed()
        return [self._result(piece) for piece in pieces]

    def _piece(self, work: Work, decoded: Decoded) -> _Piece:
        before = self._looks.last(work.lane)
        looks = self._looks_at(work, decoded.frames)
        fresh = [look for record, look in zip(work.records, looks, strict=True) if _is_of(look, record)]
        return _Piece(work, decoded, looks, [None] * len(looks), deque(gaps(before, fresh, self._reuse)))

    def _result(self, piece: _Piece) -> Result:
        """What became of a piece of work, once its gaps are settled."""
        work = piece.work
        found = tuple(_frame_result(*of) for of in zip(work.records, piece.decoded.frames, piece.looks, strict=True))
        video, problem = None, None
        if work.archive:
            try:
                video = self._render(piece)
            except StorageError as error:
                self._renderer.discard(work.lane.camera)
                problem = Problem.of(error)
        shown = None
        if work.watched and piece.pictures and (picture := piece.pictures[-1]) is not None:
            shown = self._decoder.for_people(work, picture, work.records[-1].quality)
        return Result(found, piece.decoded.keyframe, video, problem, shown)

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
                self._decoder.steps(work, latents.quality),
            )
            for record, latents in zip(work.records, frames, strict=True)
        ]

    def _make_pictures(self, piece: _Piece) -> None:
        """Synthesises what is rendered, shown, or looked at for certain, in the order of the frames."""
        ends = {gap.end.sequence for gap in piece.gaps}
        for index, (record, latents) in enumerate(zip(piece.work.records, piece.decoded.frames, strict=True)):
            shown = piece.work.watched and record is piece.work.records[-1]
            if not isinstance(latents, IcmError) and (piece.work.archive or record.sequence in ends or shown):
                piece.pictures[index] = self._decoder.picture(piece.work, latents)

    def _picture(self, piece: _Piece, look: Look) -> Picture:
        """The picture of a look of the piece, as a detector sees it."""
        index, record = next(of for of in enumerate(piece.work.records) if of[1].sequence == look.sequence)
        picture = piece.pictures[index]
        if picture is None:
            with timed(self._synthesis_seconds):
                picture = self._decoder.picture(piece.work, look.latents)
        return self._decoder.for_detector(piece.work, picture, record)

    def _detect(self, wanted: Sequence[tuple[_Piece, Look]]) -> None:
        """Looks at pictures, and notes what was found in them, or why it was not."""
        assert self._detector is not None
        pictures = [self._picture(piece, look) for piece, look in wanted]
        looks = [look for _, look in wanted]
        for start in range(0, len(looks), self._at_once):
            some = slice(start, start + self._at_once)
            try:
                with timed(self._detect_seconds):
                    found = self._detector.detect(pictures[some])
            except DetectorError as error:
                for look in looks[some]:
                    look.found = Problem.of(error)
                continue
            for look, detections in zip(looks[some], found, strict=True):
                look.found, look.is_seen = tuple(detections), True

    def _render(self, piece: _Piece) -> RenderedVideo | None:
        work, camera = piece.work, piece.work.lane.camera
        for record, picture in zip(work.records, piece.pictures, strict=True):
            if picture is not None:
                with timed(self._archive_seconds):
                    shown = self._decoder.for_people(work, picture, record.quality)
                    self._renderer.add(camera, work.segment, shown, record.capture_us)
        return self._renderer.finish(camera) if work.ends else None


def _settle(gaps_left: deque[Gap]) -> Look | None:
    """Settles gaps in their order, as far as it goes; returns a look that has to be taken before it goes on."""
    while gaps_left:
        halves = gaps_left.popleft().settle()
        if halves:
            gaps_left.extendleft(reversed(halves))
            return halves[0].end
    return None


def _is_of(look: Look | None, record: Record) -> TypeGuard[Look]:
    """Whether a look is of the very frame, not of one before it."""
    return look is not None and look.sequence == record.sequence


def _frame_result(record: Record, latents: Latents | IcmError, look: Look | None) -> FrameResult:
    if isinstance(latents, IcmError):
        return FrameResult(record.sequence, record.capture_us, problem=Problem.of(latents))
    if look is None:
        return FrameResult(record.sequence, record.capture_us)
    if isinstance(look.found, Problem):
        return FrameResult(record.sequence, record.capture_us, problem=look.found)
    reused_from = look.sequence if look.sequence != record.sequence else None
    worked_out = reused_from is None and not look.is_seen
    return FrameResult(record.sequence, record.capture_us, look.found, reused_from=reused_from, interpolated=worked_out)
