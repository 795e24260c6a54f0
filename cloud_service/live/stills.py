"""Pictures of cameras that send nothing: of the newest frame that is stored."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.exc import SQLAlchemyError

from cloud_service.bundles import Bundles
from cloud_service.events.store import EventStore, FrameEvent
from cloud_service.live.shown import Shown
from cloud_service.store import RecordStore
from icm.codec.decoder import Decoder
from icm.errors import IcmError
from icm.frame_id import FrameId

log = logging.getLogger(__name__)


class Stills:
    """Decodes frames, one after the other in a thread of its own: the pipeline goes first."""

    def __init__(self, store: RecordStore, bundles: Bundles, events: EventStore) -> None:
        """Creates what makes pictures of stored records, with what was found in them."""
        self._store, self._bundles, self._events = store, bundles, events
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
        header, records, _ = self._store.find(key.camera, key.epoch, key.sequence)
        decoder = Decoder(self._bundles.of(header.codec_id, f"frame {key.sequence} of camera {key.camera!r}"))
        for record in records:
            latents = decoder.latents(record, header.width, header.height)
        event = self._events.get(key)
        found = event if isinstance(event, FrameEvent) else None
        return Shown(
            key,
            records[-1].capture_us,
            decoder.picture(latents),
            stored_us=None,
            model=found.model if found is not None else "",
            detections=found.detections if found is not None else None,
            reused_from=None,
        )
