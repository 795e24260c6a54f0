from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import pytest

from icm_bench.delivery.fault_proxy import FaultProxy


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.transport.abort()


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = FaultProxy(server.sockets[0].getsockname()[1])
    await proxy.start()
    yield proxy
    await proxy.stop()
    server.close()
    await server.wait_closed()


@asynccontextmanager
async def connected(proxy: FaultProxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    with closing(writer):
        async with asyncio.timeout(10):
            yield reader, writer
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    found = b""
    try:
        while data := await reader.read(100):
            found += data
    except OSError:
        pass
    return found


async def test_forwards_both_ways(proxy: FaultProxy) -> None:
    async with connected(proxy) as (reader, writer):
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"


async def test_a_cut_ends_every_connection(proxy: FaultProxy) -> None:
    async with connected(proxy) as (reader, writer):
        writer.write(b"hello")
        await reader.readexactly(5)
        proxy.cut()
        assert await read_to_the_end(reader) == b""
        assert proxy.cuts == 1


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_cut_happens_after_exactly_so_many_bytes_and_once(proxy: FaultProxy, direction: str) -> None:
    happened = proxy.cut_after("up" if direction == "up" else "down", 3)
    async with connected(proxy) as (reader, writer):
        writer.write(b"hello")
        assert b"hel".startswith(await read_to_the_end(reader))
    await happened.wait()
    async with connected(proxy) as (reader, writer):
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"


async def test_a_half_open_connection_swallows_what_comes_and_stays(proxy: FaultProxy) -> None:
    async with connected(proxy) as (reader, writer):
        writer.write(b"seen")
        await reader.readexactly(4)
        proxy.half_open = True
        writer.write(b"lost")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)


async def test_a_thin_line_delivers_all_the_same(proxy: FaultProxy) -> None:
    proxy.latency_seconds, proxy.bytes_per_second = 0.001, 1_000_000
    async with connected(proxy) as (reader, writer):
        writer.write(bytes(9000))
        assert await reader.readexactly(9000) == bytes(9000)
