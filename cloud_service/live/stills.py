"""Pictures of cameras that send nothing: of the newest frame that is stored."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.events.store import EventStore, FrameEvent
from cloud_service.live.shown import Shown
from icm.errors import IcmError
from icm.frame_id import FrameId

log = logging.getLogger(__name__)
ReadPicture = Callable[[FrameId], tuple[int, NDArray[np.uint8]]]
"""When a stored frame was captured, microseconds since 1970, and its picture; raises an IcmError where it cannot be."""


class Stills:
    """Decodes frames, one after the other in a thread of its own: the pipeline goes first."""

    def __init__(self, read: ReadPicture, events: EventStore) -> None:
        """Creates what makes pictures of stored frames, with what was found in them."""
        self._read, self._events = read, events
        self._worker = ThreadPoolExecutor(1, "live-stills")

    def make(self, key: FrameId, done: Callable[[Shown], None]) -> None:
        """Decodes a frame, if it can be, and hands it to ``done`` on the worker's thread."""
        self._worker.submit(self._make, key, done)

    def close(self) -> None:
        """Makes no more; waits for the one under way."""
        self._worker.shutdown(cancel_futures=True)

    def _make(self, key: FrameId, done: Callable[[Shown], None]) -> None:
        try:
            done(self._shown(key))
        except (IcmError, SQLAlchemyError) as error:
            # The camera's tile stays empty, and its state is told all the same.
            log.warning("the newest frame of camera %s cannot be shown: %s", key.camera, error)

    def _shown(self, key: FrameId) -> Shown:
        capture_us, picture = self._read(key)
        event = self._events.get(key)
        found = event if isinstance(event, FrameEvent) else None
        return Shown(
            key,
            capture_us,
            picture,
            stored_us=None,
            model=found.model if found is not None else "",
            detections=found.detections if found is not None else None,
            reused_from=None,
        )
