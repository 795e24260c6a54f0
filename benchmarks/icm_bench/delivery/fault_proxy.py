"""A TCP proxy on loopback that does to connections what networks do."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Literal

Direction = Literal["up", "down"]
"""up: from the client that connected to the server behind the proxy."""

_CHUNK = 4096
_PACKET = 1500
"""Bytes that a thin line passes on at a time: more would hold the end of a message back until the next one came."""
_TCP_INFO_BYTES = 256
_SEGMENTS_OFFSET = 136
"""Of tcpi_segs_out and tcpi_segs_in in Linux' struct tcp_info."""


class FaultProxy:
    """Forwards connections to a port of this machine, as badly as it is told to.

    Attributes:
        port: where it listens.
        latency_seconds: delay of every piece of data.
        bytes_per_second: most that each direction of a connection carries; None for no bound.
        half_open: while set, what comes is swallowed and nobody is told, as when a router forgets a connection.
        cuts: connections that were cut so far.
        carried: bytes that were passed on in each direction.
        segments: TCP segments between the clients and the proxy, empty ones included, of connections that are over.
    """

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        self.port = 0
        self.latency_seconds = 0.0
        self.bytes_per_second: float | None = None
        self.half_open = False
        self.cuts = 0
        self.carried: dict[Direction, int] = {"up": 0, "down": 0}
        self.segments: dict[Direction, int] = {"up": 0, "down": 0}
        self._armed: tuple[Direction, int] | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._cut = asyncio.Event()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cuts all connections and takes no more."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def cut(self) -> None:
        """Resets every connection there is."""
        self.cuts += len(self._connections)
        for connection in self._connections:
            connection.cancel()

    def cut_after(self, direction: Direction, count: int) -> asyncio.Event:
        """Resets the next connection that brings so many bytes in this direction, after exactly so many.

        Returns:
            What is set once it happened.
        """
        self._armed = direction, count
        self._cut = asyncio.Event()
        return self._cut

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        writers = [writer]
        try:
            with suppress(OSError, asyncio.CancelledError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
                writers.append(far_writer)
                # Whichever side ends first ends the other.
                pumps = [
                    asyncio.create_task(self._pump("up", reader, far_writer)),
                    asyncio.create_task(self._pump("down", far_reader, writer)),
                ]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            self._connections.discard(task)
            self._count_segments(writer)
            for each in writers:
                each.transport.abort()

    def _count_segments(self, writer: asyncio.StreamWriter) -> None:
        kernel: socket.socket = writer.get_extra_info("socket")
        with suppress(OSError):
            info = kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            out, into = struct.unpack_from("=II", info, _SEGMENTS_OFFSET)
            self.segments["up"] += into
            self.segments["down"] += out

    async def _pump(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carried = 0
        with suppress(OSError):
            while data := await reader.read(_CHUNK if self.bytes_per_second is None else _PACKET):
                if self.half_open:
                    continue
                if self.latency_seconds:
                    await asyncio.sleep(self.latency_seconds)
                if self.bytes_per_second is not None:
                    await asyncio.sleep(len(data) / self.bytes_per_second)
                end = self._armed[1] if self._armed is not None and self._armed[0] == direction else None
                if end is not None and carried + len(data) >= end:
                    self._armed = None
                    self.cuts += 1
                    writer.write(data[: max(0, end - carried)])
                    await writer.drain()
                    self._cut.set()
                    return
                carried += len(data)
                self.carried[direction] += len(data)
                writer.write(data)
                await writer.drain()
