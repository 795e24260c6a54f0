"""All that is known of one frame, for those who look closely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloud_service.events.event import FrameEvent
from cloud_service.events.store import EventStore
from cloud_service.inspection.chain_reader import ChainReader
from cloud_service.inspection.stored_frames import StoredFrame, StoredFrames
from cloud_service.store import RecordStore, Segment
from icm.codec.bit_allocation import bits_by_position
from icm.codec.bitstream.record import Record
from icm.codec.latents.latents import Latents
from icm.frame_id import FrameId
from icm.proof.chain import Link


@dataclass(frozen=True)
class Inspection:
    """A frame, looked into.

    Attributes:
        key: of the frame.
        frame: as it was decoded.
        record: as it arrived.
        bits: of the record's payload by position, float64[h, w].
        events: what each detector found, the newest first.
        previous: the stored frame before it, or None.
        next: the stored frame after it, or None.
        segment: that holds it.
        block: of the chain, that speaks of the segment; None: there is none yet.
    """

    key: FrameId
    frame: StoredFrame
    record: Record
    bits: NDArray[np.float64]
    events: list[FrameEvent]
    previous: FrameId | None
    next: FrameId | None
    segment: Segment
    block: Link | None


class FrameInspector:
    """Looks into stored frames. Thread-safe."""

    def __init__(self, frames: StoredFrames, store: RecordStore, events: EventStore, chains: ChainReader) -> None:
        self._frames, self._store, self._events, self._chains = frames, store, events, chains

    def inspect(self, key: FrameId) -> Inspection:
        """All that is known of a frame; raises as ``StoredFrames.decode`` does."""
        frame = self._frames.decode(key)
        segment, record = self._store.record(key.camera, key.epoch, key.sequence)
        bits = bits_by_position(frame.bundle, record, frame.latents, self._reference(key, frame, record))
        previous, following = self._neighbours(segment, key.sequence)
        return Inspection(
            key,
            frame,
            record,
            bits,
            self._events.of_each_model(key),
            previous,
            following,
            segment,
            self._chains.block_of(key.camera, segment.number) if segment.sealed else None,
        )

    def _neighbours(self, segment: Segment, sequence: int) -> tuple[FrameId | None, FrameId | None]:
        """The stored frames before and after one, of whatever epoch; None where there is none."""
        camera, epoch = segment.camera, segment.epoch
        before = [min(last, sequence - 1) for first, last in segment.sequences if first < sequence]
        after = [max(first, sequence + 1) for first, last in segment.sequences if last > sequence]
        previous = FrameId(camera, epoch, before[-1]) if before else None
        following = FrameId(camera, epoch, after[0]) if after else None
        if previous is None and (earlier := self._store.before(camera, segment.number)) is not None:
            previous = FrameId(camera, earlier.epoch, earlier.sequences.last)
        if following is None and (later := self._store.segment(camera, segment.number + 1)) is not None:
            following = FrameId(camera, later.epoch, later.sequences.first)
        return previous, following

    def _reference(self, key: FrameId, frame: StoredFrame, record: Record) -> Latents | None:
        if frame.record.kind is record.kind:
            return frame.reference
        # It begins a segment, and was decoded from that one's keyframe.
        before = FrameId(key.camera, key.epoch, record.sequence - record.reference)
        return self._frames.decode(before).latents
