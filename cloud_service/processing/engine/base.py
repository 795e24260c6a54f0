"""What the pipeline and an engine say to each other: work and results, which may cross to another process or machine.

Messages are plain values (bytes, numbers, names), so that any of them can be pickled. An engine reads and writes no
store: what it needs comes with the work, and what is to be kept goes back with the result.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cloud_service.archive.rendering import RenderedVideo
from cloud_service.detection.base import Detection
from icm.codec.bitstream.record import Record, StreamHeader
from icm.errors import IcmError


class LaneId(NamedTuple):
    """One reader of a camera's log; see ``lanes``."""

    camera: str
    purpose: str


@dataclass(frozen=True)
class Work:
    """Neighbouring records of one segment and what to do with them.

    Attributes:
        lane: whose next records these are.
        segment: the segment's number in the camera's log.
        header: the segment's.
        records: in their order; may be empty where ``ends``.
        starts: whether they begin with the segment's first.
        ends: whether the segment ends with them.
        keyframe: the first record's frame as an I record, if it is a P record that starts a segment and this is known.
        detect: whether to look for objects in the frames.
        archive: whether to render the frames into the segment's video.
        wanted: sequences of the frames that are looked at, if any are; None for all.
        watched: whether the last frame's picture is to come back, for somebody to see.
    """

    lane: LaneId
    segment: int
    header: StreamHeader
    records: tuple[Record, ...]
    starts: bool
    ends: bool
    keyframe: Record | None
    detect: bool
    archive: bool
    wanted: frozenset[int] | None = None
    watched: bool = False

    def looks_at(self, record: Record) -> bool:
        """Whether what is in a record's frame is asked for."""
        return self.detect and (self.wanted is None or record.sequence in self.wanted)


@dataclass(frozen=True)
class Problem:
    """What went wrong in the engine.

    Attributes:
        reason: of the error's class; see ``icm.errors``.
        text: for a person.
    """

    reason: str
    text: str

    @staticmethod
    def of(error: IcmError) -> Problem:
        return Problem(error.reason, str(error))


@dataclass(frozen=True)
class FrameResult:
    """What became of one record.

    Attributes:
        sequence: the record's.
        capture_us: the record's.
        detections: what was found; None if nobody looked.
        problem: why nobody did, if that was the plan.
        reused_from: sequence of the earlier frame whose detections these are, where nobody looked at this one.
        interpolated: whether these detections were worked out from those of frames before and after.
    """

    sequence: int
    capture_us: int
    detections: tuple[Detection, ...] | None = None
    problem: Problem | None = None
    reused_from: int | None = None
    interpolated: bool = False


@dataclass(frozen=True)
class Result:
    """What became of one piece of work.

    Attributes:
        frames: one for each record, in order.
        keyframe: the first record's frame as an I record, where the work lacked one that can be used.
        video: the segment's video, if the work was its end and there was a picture.
        archive_problem: why there will be no video of this segment, unless its work is given again from the start.
        picture: the last frame's, uint8[H, W, 3] RGB, not to be written; None if nobody watches, or there is none.
    """

    frames: tuple[FrameResult, ...]
    keyframe: Record | None = None
    video: RenderedVideo | None = None
    archive_problem: Problem | None = None
    picture: NDArray[np.uint8] | None = None


class Engine(Protocol):
    """Runs decode, detect and archive over pieces of work.

    Each camera is pinned to one worker, which has the latents that its next records refer to: the work of one
    camera is done in the order of its submission.
    """

    @property
    def model(self) -> str:
        """The detector's name; empty if there is none."""
        ...

    @property
    def batch(self) -> int:
        """The most records that one piece of work may hold."""
        ...

    @property
    def together(self) -> int:
        """How many records of one camera it likes to have in one piece of work, where they wait."""
        ...

    @property
    def capacity(self) -> int:
        """How many records it likes to be given before the first of them are done."""
        ...

    def check(self, codec_id: bytes, what: str) -> None:
        """Answers at once whether this codec's records are work for this engine.

        Args:
            codec_id: of the records.
            what: holds them, for the error.

        Raises:
            CodecMismatchError: no bundle here decodes them.
        """
        ...

    def submit(self, work: Work) -> Future[Result]:
        """Queues work, of a codec that ``check`` let pass; it can be cancelled until it is begun.

        A lane's work must come in the order of its log.
        """
        ...

    def close(self) -> list[RenderedVideo]:
        """Ends the engine, of which nobody waits for work any more.

        Returns:
            The videos under way, ended as they are.
        """
        ...
