"""Frames of the cloud, taken once for each camera and size, however many people watch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from icm.client.cloud import AsyncCloudClient
from icm.client.live import LiveNews
from icm.errors import BusyError, IcmError

log = logging.getLogger(__name__)
WIDTHS = (240, 480, 960, 1920)
"""In which pictures are asked for. Few, so that those who watch share them."""
MOST_FPS = 10.0
MOST_STREAMS = 240
"""Cameras and sizes that are watched at once; a cloud gives a caller some more."""
LINGER_SECONDS = 2.0
"""For so long a picture is taken after its last watcher went: who looks at a page again finds it."""
_RETRY_SECONDS = 2.0


class News(NamedTuple):
    """What is known of a camera.

    Attributes:
        news: what the cloud said last.
        shown: its newest message that has a frame; None if there is none.
        shown_at: when that came, by the event loop's time.
        trouble: why the cloud does not answer; empty while it does.
    """

    news: LiveNews | None
    shown: LiveNews | None
    shown_at: float
    trouble: str


class Relay:
    """Belongs to one event loop."""

    def __init__(self, cloud: AsyncCloudClient) -> None:
        """Takes nothing while nobody watches.

        Args:
            cloud: which raises an error soon where it is not reached.
        """
        self._cloud = cloud
        self._streams: dict[tuple[str, int], _Stream] = {}

    @contextmanager
    def watch(self, camera: str, width: int, changed: Callable[[], None]) -> Iterator[Callable[[], News]]:
        """Watches a camera while the block runs; gives what tells the newest of it.

        Args:
            camera: its name.
            width: columns of the pictures, of ``WIDTHS``.
            changed: called when there is news, and at once where there is some.

        Raises:
            BusyError: too much is watched already.
        """
        key = camera, width
        stream = self._streams.get(key)
        if stream is None:
            if len(self._streams) >= MOST_STREAMS:
                raise BusyError(f"{MOST_STREAMS} pictures are watched already: close some, and try again")
            stream = self._streams[key] = _Stream(self._cloud, camera, width, lambda: self._streams.pop(key))
        stream.join(changed)
        try:
            yield lambda: stream.news
        finally:
            stream.leave(changed)

    async def close(self) -> None:
        """Ends all streams."""
        streams = list(self._streams.values())
        for stream in streams:
            stream.end()
        await asyncio.gather(*(stream.task for stream in streams), return_exceptions=True)


def width_for(columns: float) -> int:
    """The width in which a picture is asked for that is shown in so many columns."""
    return next((width for width in WIDTHS if width >= columns), WIDTHS[-1])


class _Stream:
    """One camera in one size."""

    def __init__(self, cloud: AsyncCloudClient, camera: str, width: int, ended: Callable[[], object]) -> None:
        self._cloud, self._camera, self._width, self._ended = cloud, camera, width, ended
        self.news = News(None, None, 0.0, "")
        self._watchers: list[Callable[[], None]] = []
        self._going: asyncio.TimerHandle | None = None
        self.task = asyncio.create_task(self._run())

    def join(self, changed: Callable[[], None]) -> None:
        if self._going is not None:
            self._going.cancel()
            self._going = None
        self._watchers.append(changed)
        if self.news.news is not None or self.news.trouble:
            changed()

    def leave(self, changed: Callable[[], None]) -> None:
        self._watchers.remove(changed)
        if not self._watchers:
            self._going = asyncio.get_running_loop().call_later(LINGER_SECONDS, self.end)

    def end(self) -> None:
        if self._going is not None:
            self._going.cancel()
        if not self.task.cancelling():
            self.task.cancel()
            self._ended()

    async def _run(self) -> None:
        while True:
            try:
                await self._take()
            except IcmError as error:
                if not self.news.trouble:
                    log.warning("camera %s cannot be watched: %s", self._camera, error)
                self._tell(self.news._replace(trouble=str(error)))
            await asyncio.sleep(_RETRY_SECONDS)

    async def _take(self) -> None:
        loop = asyncio.get_running_loop()
        async for news in self._cloud.watch_frames([self._camera], max_width=self._width, max_fps=MOST_FPS):
            if news.frame is not None:
                self._tell(News(news, news, loop.time(), ""))
            else:
                self._tell(self.news._replace(news=news, trouble=""))

    def _tell(self, news: News) -> None:
        self.news = news
        for changed in self._watchers:
            changed()
