"""The index of sealed segments in the database: a memory of what their files hold, which are the truth."""

from cloud_service.store.index.rows import Change, State
from cloud_service.store.index.segment_index import SegmentIndex
from cloud_service.store.index.writer import IndexWriter

__all__ = ["Change", "IndexWriter", "SegmentIndex", "State"]
