"""Credit and overload: how the ingest keeps its memory bounded, on a real server."""

from __future__ import annotations

from pathlib import Path

import grpc
from sqlalchemy import Engine

from cloud_service.ingest.credit import RETRY_SECONDS
from icm.codec.bitstream.record import StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.rpc.status import reason_of, retry_seconds_of
from icm.v1.ingest_pb2 import (
    ACK_STATE_PERSISTED,
)
from tests.cloud_service.ingest_server import CREDIT, CREDIT_BYTES, PENDING_BYTES, Cloud
from tests.cloud_service.parts import open_store, record


async def test_acknowledged_records_give_their_credit_back(cloud: Cloud, of: StreamHeader) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    for first in range(1, 4 * CREDIT, CREDIT):
        await uplink.send(of, [record(n) for n in range(first, first + CREDIT)], of)
        await uplink.until(first + CREDIT - 1)
    assert cloud.store.cameras()[0].records == 4 * CREDIT


async def test_more_than_the_credit_ends_the_stream_with_the_reason(cloud: Cloud, of: StreamHeader) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    await uplink.send(of, [record(n) for n in range(1, CREDIT + 2)], of)
    error = await uplink.failure()
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "PROTOCOL_VIOLATION")
    assert f"the credit is {CREDIT}" in (error.details() or "")


async def test_more_than_the_credit_in_bytes_ends_the_stream_with_the_reason(cloud: Cloud, of: StreamHeader) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    await uplink.send(of, [record(n, bytes(CREDIT_BYTES // 2)) for n in (1, 2)], of)
    error = await uplink.failure()
    assert reason_of(error) == "PROTOCOL_VIOLATION"
    assert f"the credit is {CREDIT_BYTES}" in (error.details() or "")


async def test_a_record_larger_than_the_credit_may_come_alone(cloud: Cloud, of: StreamHeader) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    for sequence in (1, 2):
        await uplink.send(of, [record(sequence, bytes(2 * CREDIT_BYTES))], of)
        assert (await uplink.until(sequence)).state == ACK_STATE_PERSISTED
    assert cloud.pending.bytes == 0


async def test_a_cloud_with_too_much_to_do_turns_an_edge_away_for_a_while_and_forgets_its_records(
    cloud: Cloud, of: StreamHeader
) -> None:
    cloud.pending.bytes = PENDING_BYTES
    uplink = cloud.uplink()
    await uplink.hello(of)
    await uplink.send(of, [record(1)], of)
    error = await uplink.failure()
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY")
    assert retry_seconds_of(error) == RETRY_SECONDS
    assert cloud.pending.bytes == PENDING_BYTES
    cloud.pending.bytes = 0
    again = cloud.uplink()
    await again.hello(of)
    await again.send(of, [record(1)], of)
    assert (await again.until(1)).state == ACK_STATE_PERSISTED


async def test_records_of_a_stream_that_died_count_as_memory_until_the_disk_took_them(
    loaded: Bundle, tmp_path: Path, database: Engine, of: StreamHeader
) -> None:
    async with Cloud(loaded, open_store(tmp_path, database)).running(disk_hangs=True) as cloud:
        uplink = cloud.uplink()
        await uplink.hello(of)
        await uplink.send(of, [record(1)], of)
        await uplink.call.read()
        (stream,) = cloud.service._streams.values()
        uplink.call.cancel()
        await stream.ended.wait()
        assert cloud.pending.bytes == len(record(1).pack(of))
        cloud.commit.start()
        again = cloud.uplink()
        await again.hello(of)
        await again.send(of, [record(1)], of)
        await again.until(1)
        await again.close()
        assert cloud.pending.bytes == 0
        assert cloud.store.cameras()[0].records == 1
