"""Which frames need no look of their own: those that are as the frame that was looked at last, or nearly so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cloud_service.detection.base import Detection
from cloud_service.processing.engine.base import LaneId, Problem
from cloud_service.processing.engine.decoding import StreamKey
from cloud_service.settings import DetectorSettings, NoDetectorSettings
from icm.codec.bitstream.record import Record
from icm.codec.latents.latents import STRIDE, Latents

_VALUES = 3 * STRIDE * STRIDE
"""Of the pixels that a position of the latents spans."""


class ReuseBound(NamedTuple):
    """How far a frame may be from the one whose detections it takes over. One with equal latents always does.

    Attributes:
        change: grey levels, root mean square over the picture; see ``change``.
        seconds: that may lie between their captures.
        gap_seconds: that may lie between two looks, between which detections are worked out; see ``interpolation``.
        gap_change: share of positions that may change from one frame to the next between them.
    """

    change: float
    seconds: float
    gap_seconds: float = 0.0
    gap_change: float = 0.0

    @staticmethod
    def of(detector: DetectorSettings) -> ReuseBound | None:
        """What the settings say; None to look at every frame."""
        if isinstance(detector, NoDetectorSettings) or detector.reuse is None:
            return None
        reuse = detector.reuse
        return ReuseBound(reuse.change, reuse.seconds, reuse.gap_seconds, reuse.gap_change)


@dataclass
class Look:
    """A frame that differs from those before it, and what is in it.

    Attributes:
        sequence: the frame's.
        capture_us: the frame's.
        stream: the frame's; latents of another are not comparable.
        latents: the frame's.
        found: what the detector found, or what was worked out from the looks around, or why nobody knows; None at
            first.
        motion: pixels a second of each box that was found, float64[n, 2]; None while nobody knows.
        is_seen: whether the detector looked.
    """

    sequence: int
    capture_us: int
    stream: StreamKey
    latents: Latents
    found: tuple[Detection, ...] | Problem | None = None
    motion: NDArray[np.float64] | None = None
    is_seen: bool = False


class Looks:
    """The last look at each lane's frames. Not thread-safe.

    What a frame is compared with has detections of its own, whatever lies between the two: small changes add up until
    they are seen.
    """

    def __init__(self, bound: ReuseBound | None) -> None:
        """Begins without any.

        Args:
            bound: None to look at every frame.
        """
        self._bound = bound
        self._last: dict[LaneId, Look] = {}

    def last(self, lane: LaneId) -> Look | None:
        """A lane's last look; None if there is none."""
        return self._last.get(lane)

    def at(
        self,
        lane: LaneId,
        stream: StreamKey,
        record: Record,
        latents: Latents,
        steps: NDArray[np.float32],
    ) -> Look:
        """The look that tells what is in a frame: an earlier one, or a new one, of which nothing is known yet.

        Args:
            stream: the record's.
            record: the lane's next.
            latents: the record's.
            steps: float32[M], of their quality, see ``change``.
        """
        last = self._last.get(lane)
        if last is not None and self._serves(last, stream, record, latents, steps):
            return last
        look = Look(record.sequence, record.capture_us, stream, latents)
        self._last[lane] = look
        return look

    def forget_failed(self) -> None:
        """Lets the next frame of a lane be looked at whose last look failed."""
        self._last = {lane: look for lane, look in self._last.items() if not isinstance(look.found, Problem)}

    def _serves(
        self,
        last: Look,
        stream: StreamKey,
        record: Record,
        latents: Latents,
        steps: NDArray[np.float32],
    ) -> bool:
        bound = self._bound
        if bound is None or last.stream != stream or last.latents.quality != latents.quality:
            return False
        changed = change(last.latents, latents, steps)
        late = not 0 <= record.capture_us - last.capture_us <= bound.seconds * 1e6
        return changed == 0 or (changed <= bound.change and not late)


def change(before: Latents, after: Latents, steps: NDArray[np.float32]) -> float:
    """How far two frames of one size and quality are apart, in grey levels: root mean square over the picture's values.

    The searched picture's distances are nearly a picture's, so the latents tell it without one.

    Args:
        steps: float32[M], the quantisation steps of their quality, in grey levels.
    """
    differs = (before.values != after.values).any(0)
    apart = np.subtract(after.values[:, differs], before.values[:, differs], dtype=np.float32)
    return float(np.sqrt(np.square(apart * steps[:, None]).sum() / (_VALUES * differs.size)))
