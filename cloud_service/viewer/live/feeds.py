"""A camera's picture now, and as an endless MJPEG stream: for other programs, and for pages without scripts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from email.utils import format_datetime

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cloud_service.viewer.live.limits import ConnectionLimits
from cloud_service.viewer.live.relay import WIDTHS, News, Relay
from cloud_service.viewer.web.routes import Page, Right
from icm.client.live import LiveFrame
from icm.errors import (
    ConfigError,
    IcmError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnreachableError,
)

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 10.0
"""For the first picture of a camera that nobody watched."""
ASK_SECONDS = 10.0
"""How often it is asked whether a visitor may still watch a stream."""
_AGAIN_SECONDS = 10.0
"""After so long a stream sends the picture again that it sent last: programs take one that says nothing for broken."""
_BOUNDARY = "icm-frame"


class LiveFeeds:
    """``/cameras/{camera}/latest.jpg`` and ``/cameras/{camera}/live.mjpg``; ``?width=`` chooses a size."""

    def __init__(self, relay: Relay, limits: ConnectionLimits) -> None:
        """Creates them.

        Args:
            limits: of streams.
        """
        self._relay, self._limits = relay, limits

    def pages(self) -> list[Page]:
        """For the routes."""
        return [
            Page("/cameras/{camera}/latest.jpg", self._latest, Right.VIEW, feed=True),
            Page("/cameras/{camera}/live.mjpg", self._stream, Right.VIEW, feed=True),
        ]

    async def _latest(self, request: Request) -> Response:
        camera = request.path_params["camera"]
        with ExitStack() as owned:
            feed = _Feed(self._relay, camera, _width(request), owned)
            frame = await feed.next(_PATIENCE_SECONDS)
        if frame is None:
            raise NotFoundError(f"camera {camera} has no picture")
        headers = {"last-modified": format_datetime(frame.captured, usegmt=True), "x-icm-frame": _name(frame)}
        return Response(frame.jpeg, headers=headers, media_type="image/jpeg")

    async def _stream(self, request: Request) -> Response:
        visitor = request.state.visitor
        owned = ExitStack()
        owned.enter_context(self._limits.held(visitor.name, visitor.address))
        try:
            feed = _Feed(self._relay, request.path_params["camera"], _width(request), owned)
            first = await feed.next(_PATIENCE_SECONDS)
        except BaseException:
            owned.close()
            raise
        return _Stream(
            _parts(feed, first, request.state.admit),
            owned,
            media_type=f"multipart/x-mixed-replace; boundary={_BOUNDARY}",
        )


class _Stream(StreamingResponse):
    """One that ends what it needs whether or not a byte of it was sent."""

    def __init__(self, parts: AsyncIterator[bytes], owned: ExitStack, media_type: str) -> None:
        super().__init__(parts, media_type=media_type)
        self._owned = owned

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        with self._owned:
            await super().__call__(scope, receive, send)


class _Feed:
    """The newest frames of one camera."""

    def __init__(self, relay: Relay, camera: str, width: int, owned: ExitStack) -> None:
        self._woken = asyncio.Event()
        self._news: Callable[[], News] = owned.enter_context(relay.watch(camera, width, self._woken.set))
        self._last: LiveFrame | None = None

    async def next(self, patience: float) -> LiveFrame | None:
        """The newest frame, once it is another; after a while the one before, None if there is none.

        Raises:
            UnreachableError: the cloud does not answer, and there is no frame.
        """
        try:
            async with asyncio.timeout(patience):
                while True:
                    self._woken.clear()
                    news = self._news()
                    if news.shown is not None and news.shown.frame is not self._last:
                        self._last = news.shown.frame
                        return self._last
                    if self._last is None and news.trouble:
                        raise UnreachableError(news.trouble)
                    if self._last is None and news.news is not None and news.news.state == "empty":
                        return None
                    await self._woken.wait()
        except TimeoutError:
            return self._last


async def _parts(feed: _Feed, frame: LiveFrame | None, admit: Callable[[], Awaitable[object]]) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    asked = loop.time()
    while True:
        if loop.time() - asked >= ASK_SECONDS:
            asked = loop.time()
            try:
                await admit()
            except (UnauthenticatedError, PermissionDeniedError, NotFoundError):
                # The answer began long ago; all that can be done is to end it.
                return
            except IcmError as error:
                log.warning("a stream goes on, as nobody can tell whether it may: %s", error)
        if frame is not None:
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame.jpeg)}\r\n"
            yield f"{head}X-Icm-Frame: {_name(frame)}\r\n\r\n".encode() + frame.jpeg + b"\r\n"
        frame = await feed.next(_AGAIN_SECONDS)


def _width(request: Request) -> int:
    text = request.query_params.get("width", str(WIDTHS[-2]))
    if not (text.isascii() and text.isdigit() and int(text[:9]) in WIDTHS):
        raise ConfigError(f"width is {text[:20]!r}: choose {', '.join(map(str, WIDTHS))}")
    return int(text)


def _name(frame: LiveFrame) -> str:
    return f"{frame.frame.epoch}/{frame.frame.sequence} {frame.captured.isoformat()}"
