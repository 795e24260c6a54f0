"""The wall's WebSocket: one for all tiles of a page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial

from starlette.websockets import WebSocket, WebSocketDisconnect

from cloud_service.viewer.accounts.roles import Visitor
from cloud_service.viewer.live.limits import ConnectionLimits, MessageRate
from cloud_service.viewer.live.messages import Ack, Watch, frame_message, read_message
from cloud_service.viewer.live.relay import News, Relay, width_for
from cloud_service.viewer.web.errors import status_of
from cloud_service.viewer.web.routes import Right, Socket
from icm.errors import BusyError, IcmError, ProtocolError
from icm.service.clock import Clock

MOST_UNDRAWN = 16
"""Messages on their way to a page; the next one waits until the page has drawn some of them."""
STILL_SECONDS = 60.0
"""How often a picture is sent again that has not changed."""
MOST_MESSAGES_A_SECOND = 40.0
_CLOSED = 4000
"""Added to a status of HTTP, for the code that a connection is closed with."""
_MOST_REASON = 120


class WallSocket:
    """``/live``: what a page shows of each camera is always the newest; see ``messages`` for what is said."""

    def __init__(self, relay: Relay, limits: ConnectionLimits, clock: Clock) -> None:
        self._relay, self._limits, self._clock = relay, limits, clock

    def sockets(self) -> list[Socket]:
        """For the routes."""
        return [Socket("/live", self._serve, Right.VIEW)]

    async def _serve(self, socket: WebSocket) -> None:
        visitor: Visitor = socket.state.visitor
        try:
            with self._limits.held(visitor.name, visitor.address):
                await socket.accept()
                await self._talk(socket)
        except BusyError as error:
            # Not accepted, so that this costs next to nothing.
            await socket.close(_CLOSED + status_of(error), str(error)[:_MOST_REASON])

    async def _talk(self, socket: WebSocket) -> None:
        with ExitStack() as owned:
            tiles = _Tiles(self._relay, lambda: socket.state.visitor, owned)
            tasks = [asyncio.create_task(of) for of in (self._listen(socket, tiles), _send(socket, tiles))]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended = [task for task in tasks if task.done()]
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            error = next((error for task in ended if (error := task.exception()) is not None), None)
        if isinstance(error, IcmError):
            with suppress(WebSocketDisconnect):
                await socket.close(_CLOSED + status_of(error), str(error)[:_MOST_REASON])
        elif not isinstance(error, WebSocketDisconnect | None):
            raise error

    async def _listen(self, socket: WebSocket, tiles: _Tiles) -> None:
        rate = MessageRate(MOST_MESSAGES_A_SECOND, self._clock)
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"])
            if not rate.take():
                raise BusyError("too many messages")
            text = message.get("text")
            if text is None:
                raise ProtocolError("a message of the wall is JSON in text")
            match read_message(text):
                case Watch(wanted):
                    tiles.set(wanted)
                case Ack(number):
                    tiles.acknowledge(number)


class _Tiles:
    """What one page shows, and what it has not been told yet. It holds no picture of its own but the last of each."""

    def __init__(self, relay: Relay, visitor: Callable[[], Visitor], owned: ExitStack) -> None:
        """Args: visitor, tells who watches and what they may see now, which may change meanwhile."""
        self._relay, self._visitor = relay, visitor
        self._watched: dict[str, _Tile] = {}
        self._changed: dict[str, None] = {}
        self._woken = asyncio.Event()
        self._sent = self._drawn = 0
        owned.callback(self.set, {})

    def set(self, wanted: dict[str, float]) -> None:
        """Shows these and no others.

        Raises:
            BusyError: too much is watched already.
            NotFoundError: the visitor does not see one of them.
        """
        for camera in wanted:
            self._visitor().check_sees(camera)
        widths = {camera: width_for(columns) for camera, columns in wanted.items()}
        for camera, tile in list(self._watched.items()):
            if widths.get(camera) != tile.width:
                del self._watched[camera]
                self._changed.pop(camera, None)
                tile.owned.close()
        for camera, width in widths.items():
            if camera not in self._watched:
                with ExitStack() as owned:
                    news = owned.enter_context(self._relay.watch(camera, width, partial(self._note, camera)))
                    self._watched[camera] = _Tile(width, news, owned.pop_all())

    def acknowledge(self, number: int) -> None:
        """The page has drawn all messages up to this one.

        Raises:
            ProtocolError: there was none of this number.
        """
        if number > self._sent:
            raise ProtocolError(f"message {number} was not sent yet")
        self._drawn = max(self._drawn, number)
        self._woken.set()

    async def next(self) -> bytes:
        """The next message, once the page has room for one: of the camera that has waited longest.

        Raises:
            NotFoundError: the visitor does not see that camera any more.
        """
        while True:
            self._woken.clear()
            while self._changed and self._sent - self._drawn < MOST_UNDRAWN:
                camera = next(iter(self._changed))
                del self._changed[camera]
                if (tile := self._watched.get(camera)) is not None:
                    self._visitor().check_sees(camera)
                    self._sent += 1
                    return tile.message(camera, self._sent)
            await self._woken.wait()

    def _note(self, camera: str) -> None:
        self._changed.setdefault(camera)
        self._woken.set()


class _Tile:
    """One camera on a page."""

    def __init__(self, width: int, news: Callable[[], News], owned: ExitStack) -> None:
        self.width, self._news, self.owned = width, news, owned
        self._picture, self._picture_at = b"", 0.0

    def message(self, camera: str, number: int) -> bytes:
        news, now = self._news(), asyncio.get_running_loop().time()
        shown = news.shown.frame if news.shown is not None else None
        jpeg = shown.jpeg if shown is not None else b""
        if jpeg == self._picture and now - self._picture_at < STILL_SECONDS:
            jpeg = b""
        elif jpeg:
            self._picture, self._picture_at = jpeg, now
        return frame_message(camera, number, news, now, jpeg)


async def _send(socket: WebSocket, tiles: _Tiles) -> None:
    while True:
        await socket.send_bytes(await tiles.next())
