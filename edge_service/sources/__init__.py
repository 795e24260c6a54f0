"""Where pictures come from."""

from edge_service.sources.base import Frame, Source, Spooled
from edge_service.sources.factory import make_source
from edge_service.sources.submitted import SubmittedSource

__all__ = ["Frame", "Source", "Spooled", "SubmittedSource", "make_source"]
