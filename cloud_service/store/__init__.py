"""The canonical archive: the records themselves, in append-only segment files."""

from cloud_service.store.chains import Found
from cloud_service.store.group_commit import GroupCommit
from cloud_service.store.keyframes import SegmentKeyframes
from cloud_service.store.position import Position
from cloud_service.store.reading import Chunk
from cloud_service.store.segment import Segment
from cloud_service.store.sequences import SequenceSet
from cloud_service.store.store import CameraSummary, RawRecord, RecordStore

__all__ = [
    "CameraSummary",
    "Chunk",
    "Found",
    "GroupCommit",
    "Position",
    "RawRecord",
    "RecordStore",
    "Segment",
    "SegmentKeyframes",
    "SequenceSet",
]
