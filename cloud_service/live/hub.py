"""Where the pipeline shows frames, and watchers get them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from cloud_service.detection.base import Detection
from cloud_service.feedback.arrivals import Arrivals
from cloud_service.live.shown import Shown
from cloud_service.live.states import CameraState, State, state_of
from cloud_service.live.stills import Stills
from cloud_service.live.watcher import Watcher
from cloud_service.store import RecordStore
from icm.errors import IcmError
from icm.frame_id import FrameId
from icm.service.clock import Clock

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
"""How often it is looked who fell silent, while somebody watches."""
_JPEGS_AT_ONCE = 2


class LiveHub:
    """While nobody watches, all that it does is to note when the newest frame of each camera was captured.

    Of each camera that is watched it holds one picture. ``wants``, ``show`` and ``close`` may be called on any thread;
    all else belongs to one event loop.
    """

    def __init__(self, *, store: RecordStore, stills: Stills, arrivals: Arrivals, clock: Clock, model: str) -> None:
        """Creates a hub that shows nothing yet.

        Args:
            store: knows the cameras.
            stills: makes pictures of frames that the pipeline is done with.
            arrivals: of the cameras' records.
            model: the detector's name.
        """
        self._store, self._stills, self._arrivals, self._clock, self._model = store, stills, arrivals, clock, model
        self.making = ThreadPoolExecutor(_JPEGS_AT_ONCE, "live-jpeg")
        self._lock = threading.Lock()
        self._watchers: list[Watcher] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._captured: dict[str, int] = {}
        self._newest: dict[str, Shown] = {}
        self._tried: dict[str, FrameId] = {}
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    def wants(self, camera: str) -> bool:
        """Whether somebody watches a camera."""
        with self._lock:
            return self._watched(camera)

    def show(
        self,
        key: FrameId,
        capture_us: int,
        picture: NDArray[np.uint8] | None,
        detections: Sequence[Detection] | None,
        reused_from: int | None,
    ) -> None:
        """The pipeline is done with a frame.

        Args:
            capture_us: when it was captured, microseconds since 1970.
            picture: uint8[H, W, 3] RGB, not to be written any more; None if nobody wanted it.
            detections: what is in it; None if nobody looked.
            reused_from: sequence of the earlier frame whose detections these are, if it is none of its own.
        """
        with self._lock:
            self._captured[key.camera] = capture_us
            if picture is None or not self._watched(key.camera):
                return
        self._take(
            Shown(
                key,
                capture_us,
                picture,
                stored_us=self._arrivals.stored_us(key),
                model=self._model,
                detections=detections,
                reused_from=reused_from,
            )
        )

    def close(self) -> None:
        """Ends all watchers, also those to come."""
        with self._lock:
            self._closed = True
            watchers, loop = list(self._watchers), self._loop
        for watcher in watchers:
            if loop is not None:
                loop.call_soon_threadsafe(watcher.end)
        self._stills.close()

    @contextmanager
    def watch(self, cameras: frozenset[str] | None, most_fps: float) -> Iterator[Watcher]:
        """Frames and states of cameras, from now until the block ends.

        Args:
            cameras: which; None for all.
            most_fps: frames a second of each; 0 for no limit.
        """
        watcher = Watcher(cameras, most_fps, self._newest.get, self._state)
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._watchers.append(watcher)
            if self._closed:
                watcher.end()
        watcher.notify(self._store.names() if cameras is None else sorted(cameras))
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_again_and_again())
        try:
            yield watcher
        finally:
            with self._lock:
                self._watchers.remove(watcher)
                for camera in [camera for camera in {*self._newest, *self._tried} if not self._watched(camera)]:
                    self._newest.pop(camera, None)
                    self._tried.pop(camera, None)
            if not self._watchers and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    def look(self) -> None:
        """Has watchers tell what became of cameras meanwhile, and begins to make pictures of those that are still."""
        if self._closed:
            return
        names = set(self._store.names())
        for watcher in self._watchers:
            watcher.notify(sorted(names) if watcher.cameras is None else sorted(watcher.cameras))
        with self._lock:
            bare = [camera for camera in names if camera not in self._newest and self._watched(camera)]
        for camera in sorted(bare):
            newest = self._store.newest_frame(camera) if self._is_still(camera) else None
            if newest is not None and self._tried.get(camera) != newest:
                self._tried[camera] = newest
                self._stills.make(newest, self._take)

    def _is_still(self, camera: str) -> bool:
        """Whether no frame comes by itself soon: the pipeline is done with the newest, or nothing came for long."""
        with self._lock:
            captured_us = self._captured.get(camera)
        done = captured_us is not None and captured_us == self._store.newest_capture_us(camera)
        return done or self._state(camera).state is State.SILENT

    def _state(self, camera: str) -> CameraState:
        with self._lock:
            captured_us = self._captured.get(camera)
        if captured_us is None:
            captured_us = self._store.newest_capture_us(camera)
        return state_of(captured_us, self._arrivals.last(camera), self._clock.now_us(), self._clock.monotonic())

    def _take(self, shown: Shown) -> None:
        camera = shown.key.camera
        with self._lock:
            before = self._newest.get(camera)
            if not self._watched(camera) or not shown.is_newer(before):
                return
            if before is not None:
                shown.take_over(before)
            self._newest[camera] = shown
            watchers, loop = [of for of in self._watchers if of.watches(camera)], self._loop
        for watcher in watchers:
            if loop is not None:
                loop.call_soon_threadsafe(watcher.notify, (camera,))

    def _watched(self, camera: str) -> bool:
        return any(watcher.watches(camera) for watcher in self._watchers)

    async def _look_again_and_again(self) -> None:
        while True:
            # At first too: frames that come by themselves need no still.
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self.look()
            except IcmError as error:
                log.warning("the live view cannot look after cameras now: %s", error)
