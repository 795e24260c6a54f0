"""What a chain says of a segment, from what the index knows of it."""

from __future__ import annotations

from cloud_service.store.segment import Segment
from icm.proof.entries import SegmentFacts


def facts_of(segment: Segment) -> SegmentFacts:
    """A sealed segment as a leaf has it."""
    return SegmentFacts(
        camera=segment.camera,
        number=segment.number,
        epoch=segment.epoch,
        size=segment.size,
        records=segment.records,
        sequences=segment.sequences.to_text(),
        first_capture_us=segment.first_capture_us,
        last_capture_us=segment.last_capture_us,
        sha256=segment.sha256,
    )
