"""The ingest while the disk refuses or takes its time, on a real server."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import grpc
import pytest
from sqlalchemy import Engine

from icm.codec.bitstream.record import StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.v1.ingest_pb2 import ACK_STATE_PERSISTED, ACK_STATE_RECEIVED
from tests.cloud_service.ingest_server import Cloud
from tests.cloud_service.parts import open_store, record


@pytest.fixture
def refusing_disk(tmp_path: Path) -> Path:
    """A folder in which nothing can be made until the file in the way is removed."""
    records = tmp_path / "records"
    records.mkdir()
    (records / "gate").write_text("in the way")
    return records / "gate"


async def test_what_came_before_an_edge_ended_its_stream_is_acknowledged_first(
    loaded: Bundle, tmp_path: Path, database: Engine, of: StreamHeader
) -> None:
    async with Cloud(loaded, open_store(tmp_path, database)).running(disk_hangs=True) as cloud:
        uplink = cloud.uplink()
        await uplink.hello(of)
        await uplink.send(of, [record(1)], of)
        await uplink.send(None, [record(2)], of)
        await uplink.call.done_writing()
        cloud.commit.start()
        await uplink.until(2)
        assert await uplink.call.read() is grpc.aio.EOF
        assert [n for first, last in uplink.ranges(ACK_STATE_PERSISTED) for n in range(first, last + 1)] == [1, 2]


async def test_a_disk_that_refuses_stops_acknowledging_and_is_a_health_problem_until_it_takes_records_again(
    loaded: Bundle, database: Engine, refusing_disk: Path, of: StreamHeader
) -> None:
    async with Cloud(loaded, open_store(refusing_disk.parent, database)).running() as cloud:
        uplink = cloud.uplink()
        await uplink.hello(of)
        await uplink.send(of, [record(1)], of)
        await cloud.problems.reported.wait()
        refusals = cloud.metrics.registry.get_sample_value("icm_cloud_store_failures_total", {"camera": "gate"})
        assert refusals is not None
        assert refusals >= 1
        assert str(refusing_disk) in cloud.problems.lines()[0]
        await asyncio.to_thread(refusing_disk.unlink)
        assert (await uplink.until(1)).state == ACK_STATE_PERSISTED
        assert uplink.ranges(ACK_STATE_RECEIVED) == uplink.ranges(ACK_STATE_PERSISTED) == [(1, 1)]
        assert cloud.problems.lines() == []


async def test_a_stream_that_an_edge_ended_ends_with_what_the_disk_said_when_it_refuses(
    loaded: Bundle, database: Engine, refusing_disk: Path, of: StreamHeader
) -> None:
    async with Cloud(loaded, open_store(refusing_disk.parent, database)).running() as cloud:
        uplink = cloud.uplink()
        await uplink.hello(of)
        await uplink.send(of, [record(1)], of)
        await uplink.call.done_writing()
        error = await uplink.failure()
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        assert str(refusing_disk) in (error.details() or "")
        assert uplink.ranges(ACK_STATE_PERSISTED) == []


async def test_a_stream_that_an_edge_ends_while_the_disk_refuses_is_tried_once_more_and_then_ends_with_what_it_said(
    loaded: Bundle, database: Engine, refusing_disk: Path, of: StreamHeader
) -> None:
    async with Cloud(loaded, open_store(refusing_disk.parent, database)).running() as cloud:
        uplink = cloud.uplink()
        await uplink.hello(of)
        await uplink.send(of, [record(1)], of)
        await cloud.problems.reported.wait()
        await uplink.call.done_writing()
        error = await uplink.failure()
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        assert str(refusing_disk) in (error.details() or "")
        assert uplink.ranges(ACK_STATE_RECEIVED) == [(1, 1)]
        assert uplink.ranges(ACK_STATE_PERSISTED) == []


async def test_a_refusal_that_comes_when_the_stream_is_gone_leaves_no_traceback(
    loaded: Bundle, database: Engine, refusing_disk: Path, of: StreamHeader, caplog: pytest.LogCaptureFixture
) -> None:
    async with Cloud(loaded, open_store(refusing_disk.parent, database)).running(disk_hangs=True) as cloud:
        uplink = cloud.uplink()
        await uplink.hello(of)
        await uplink.send(of, [record(1)], of)
        await uplink.call.read()
        (stream,) = cloud.service._streams.values()
        uplink.call.cancel()
        await stream.ended.wait()
        appending = stream._commits._appending
        assert appending is not None
        cloud.commit.start()
        await asyncio.wait((appending,))
        del stream, appending
        gc.collect()  # asyncio complains when it forgets a future that nobody looked at
    assert cloud.pending.bytes == 0
    assert "never retrieved" not in caplog.text
