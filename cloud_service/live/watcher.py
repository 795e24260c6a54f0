"""One who watches cameras: what is new for them, the newest of each camera only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cloud_service.live.shown import Shown
from cloud_service.live.states import CameraState


class Update(NamedTuple):
    """What is to be told of a camera.

    Attributes:
        shown: a frame that was not told yet; None if there is none.
    """

    camera: str
    state: CameraState
    shown: Shown | None


class Pace:
    """So many frames a second at most, evenly; a frame that comes a little early is let pass."""

    def __init__(self, most_fps: float) -> None:
        """Creates a pace; 0 frames a second stands for no limit."""
        self._interval = 1 / most_fps if most_fps else 0.0
        self._due = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next frame may go; 0 if it may now."""
        return max(0.0, self._due - now)

    def sent(self, now: float) -> None:
        """A frame goes now, when it may."""
        self._due = max(self._due, now - self._interval) + self._interval


class Watcher:
    """Belongs to one event loop; what it holds grows with the cameras alone.

    Attributes:
        cameras: which are watched; None for all.
    """

    def __init__(
        self,
        cameras: frozenset[str] | None,
        most_fps: float,
        newest: Callable[[str], Shown | None],
        state: Callable[[str], CameraState],
    ) -> None:
        """Creates one to whom all is new.

        Args:
            cameras: which are watched; None for all.
            most_fps: frames a second of each camera; 0 for no limit.
            newest: gives the frame of a camera that is to be shown.
            state: tells how a camera does.
        """
        self.cameras = cameras
        self._most_fps, self._newest, self._state = most_fps, newest, state
        self._changed: dict[str, None] = {}
        self._states: dict[str, CameraState] = {}
        self._shown: dict[str, Shown] = {}
        self._paces: dict[str, Pace] = {}
        self._woken = asyncio.Event()
        self._ended = False

    def watches(self, camera: str) -> bool:
        return self.cameras is None or camera in self.cameras

    def notify(self, cameras: Iterable[str]) -> None:
        """There may be news of these cameras."""
        for camera in cameras:
            if self.watches(camera):
                self._changed.setdefault(camera)
        self._woken.set()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._woken.set()

    async def next(self) -> Update | None:
        """The next news, a camera in its turn; None if no more will come."""
        loop = asyncio.get_running_loop()
        while not self._ended:
            self._woken.clear()
            shortest: float | None = None
            for camera in list(self._changed):
                update, wait = self._news(camera, loop.time())
                if not wait:
                    del self._changed[camera]
                else:
                    shortest = min(wait, shortest or wait)
                if update is not None:
                    return update
            try:
                async with asyncio.timeout(shortest):
                    await self._woken.wait()
            except TimeoutError:
                pass
        return None

    def _news(self, camera: str, now: float) -> tuple[Update | None, float]:
        """What is new of a camera, and in how many seconds to look for more that is known already."""
        state, shown, before = self._state(camera), self._newest(camera), self._states.get(camera)
        pace = self._paces.setdefault(camera, Pace(self._most_fps))
        if shown is self._shown.get(camera):
            shown = None
        wait = pace.wait(now) if shown is not None else 0.0
        if shown is not None and not wait:
            pace.sent(now)
            self._shown[camera] = shown
        elif before is not None and before.state is state.state:
            return None, wait
        else:
            shown = None
        self._states[camera] = state
        return Update(camera, state, shown), wait
