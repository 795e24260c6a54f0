"""The engine: decode, detect, archive. A seam, so that a cluster can take the place of this process."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import Histogram

from cloud_service.archive.writer import ArchiveWriter, VideoSegment
from cloud_service.detection.base import Detection, Detector
from cloud_service.processing.engine.decoding import BatchDecoder, LaneId, Picture
from cloud_service.store import Chunk
from icm.codec.bitstream.record import Record
from icm.errors import DetectorError, IcmError, StorageError
from icm.service.telemetry import timed

log = logging.getLogger(__name__)
_BATCH_WITHOUT_DETECTOR = 4


@dataclass(frozen=True)
class Work:
    """Neighbouring records of one lane and what to do with them."""

    lane: LaneId
    chunk: Chunk
    detect: bool
    archive: bool


@dataclass
class FrameResult:
    """What became of one record.

    Attributes:
        detections: what was found; None if nobody looked.
        problem: why nobody did, if that was the plan.
    """

    record: Record
    detections: tuple[Detection, ...] | None = None
    problem: IcmError | None = None


@dataclass
class Result:
    """What became of one piece of work.

    Attributes:
        frames: one for each record, in order.
        video: the segment's video, if the work was its end and there was a picture.
        archive_error: why there will be no video of this segment, unless its work is given again from the start.
    """

    frames: list[FrameResult] = field(default_factory=list)
    video: VideoSegment | None = None
    archive_error: StorageError | None = None


class Engine(Protocol):
    """Runs decode, detect and archive over pieces of work. Used by one thread at a time."""

    @property
    def model(self) -> str:
        """The detector's name; empty if there is none."""
        ...

    @property
    def batch(self) -> int:
        """How many records it likes to be given at once."""
        ...

    def check(self, chunk: Chunk) -> None:
        """Raises CodecMismatchError: this is no work for an engine with these bundles."""
        ...

    def process(self, work: Sequence[Work]) -> list[Result]:
        """The results, in the order of the work, which ``check`` let pass. A lane's work must come in the order of its
        log.
        """
        ...

    def flush(self) -> list[VideoSegment]:
        """Ends the videos under way as they are; returns those that could be written."""
        ...


class InProcessEngine:
    """The engine in this process."""

    def __init__(
        self, decoder: BatchDecoder, detector: Detector | None, archive: ArchiveWriter, stage_seconds: Histogram
    ) -> None:
        self._decoder = decoder
        self._detector = detector
        self._archive = archive
        self._decode_seconds = stage_seconds.labels("decode")
        self._detect_seconds = stage_seconds.labels("detect")
        self._archive_seconds = stage_seconds.labels("archive")

    @property
    def model(self) -> str:
        return self._detector.model if self._detector is not None else ""

    @property
    def batch(self) -> int:
        return self._detector.batch if self._detector is not None else _BATCH_WITHOUT_DETECTOR

    def check(self, chunk: Chunk) -> None:
        """See ``Engine.check``."""
        self._decoder.check(chunk)

    def process(self, work: Sequence[Work]) -> list[Result]:
        """See ``Engine.process``."""
        with timed(self._decode_seconds):
            decoded = self._decoder.decode([(item.lane, item.chunk) for item in work])
        results = []
        wanted: list[tuple[FrameResult, Picture]] = []
        for item, pictures in zip(work, decoded, strict=True):
            result = Result()
            for record, picture in zip(item.chunk.records, pictures, strict=True):
                frame = FrameResult(record, problem=picture if isinstance(picture, IcmError) else None)
                result.frames.append(frame)
                if item.detect and not isinstance(picture, IcmError):
                    wanted.append((frame, picture))
            results.append(result)
        self._detect(wanted)
        for item, pictures, result in zip(work, decoded, results, strict=True):
            if item.archive:
                try:
                    result.video = self._render(item.chunk, pictures)
                except StorageError as error:
                    self._archive.discard(item.lane.camera)
                    result.archive_error = error
        return results

    def flush(self) -> list[VideoSegment]:
        """See ``Engine.flush``."""
        videos = []
        for camera in self._archive.under_way():
            try:
                video = self._archive.finish(camera)
            except StorageError as error:
                log.warning("the video of %s under way is left out: %s", camera, error)
                continue
            if video is not None:
                videos.append(video)
        return videos

    def _detect(self, wanted: Sequence[tuple[FrameResult, Picture]]) -> None:
        if self._detector is None or not wanted:
            return
        try:
            with timed(self._detect_seconds):
                found = self._detector.detect([picture for _, picture in wanted])
        except DetectorError as error:
            for frame, _ in wanted:
                frame.problem = error
            return
        for (frame, _), detections in zip(wanted, found, strict=True):
            frame.detections = tuple(detections)

    def _render(self, chunk: Chunk, pictures: Sequence[Picture | IcmError]) -> VideoSegment | None:
        for record, picture in zip(chunk.records, pictures, strict=True):
            if not isinstance(picture, IcmError):
                with timed(self._archive_seconds):
                    self._archive.add(chunk.segment, picture, record.capture_us)
        return self._archive.finish(chunk.segment.camera) if chunk.ended else None
