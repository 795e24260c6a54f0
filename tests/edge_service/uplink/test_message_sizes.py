"""Edge and cloud agree on how large a message may be; what fits into none waits, and the edge says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edge_service.metrics import EdgeMetrics
from edge_service.spool.store import CameraSpool
from edge_service.uplink.uplink import Uplink
from icm.codec.bitstream.record import VERSION
from icm.rpc.channels import open_channel
from icm.service.backoff import Backoff
from icm.service.health import Problems
from tests.edge_service.ingest_server import Ingest, serving
from tests.edge_service.parts import CODEC_ID, spool_records


@asynccontextmanager
async def sent_to(
    ingest: Ingest, spool: CameraSpool, metrics: EdgeMetrics, problems: Problems
) -> AsyncIterator[Uplink]:
    """What waits in the spool is on its way to this cloud."""
    async with serving(ingest) as port, open_channel(f"127.0.0.1:{port}", allow_plaintext=False) as channel:
        uplink = Uplink(spool, CODEC_ID, channel, metrics, problems, Backoff(0.01, 0.05))
        sending = asyncio.create_task(uplink.run())
        async with asyncio.timeout(20):
            yield uplink
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_no_message_is_larger_than_the_cloud_says_that_it_takes(spool, metrics, problems) -> None:
    gate = spool.camera("gate")
    spool_records(gate, 300, size=700)
    spool_records(gate, 3, size=65_000)
    ingest = Ingest(credit=4096, credit_bytes=1 << 30, message_bytes=100_000)
    async with sent_to(ingest, gate, metrics, problems) as uplink:
        await uplink.drained()
    assert len(ingest.of("gate")) == 303
    assert ingest.batches[-3:] == [1, 1, 1]


async def test_a_record_that_fits_into_no_message_is_kept_until_the_cloud_takes_it(spool, metrics, problems) -> None:
    gate = spool.camera("gate")
    spool_records(gate, 1, size=100)
    spool_records(gate, 1, size=200_000)
    async with sent_to(Ingest(message_bytes=100_000), gate, metrics, problems):
        text = await problems.first()
    assert "uplink of gate: a record needs a message of 200" in text
    assert "the cloud takes 100000: raise its setting ingest.limits.message_bytes" in text
    assert gate.holds(2)
    ingest = Ingest(message_bytes=300_000)
    async with sent_to(ingest, gate, metrics, problems) as uplink:
        await uplink.drained()
    assert [record.sequence for record in ingest.of("gate")][-1] == 2


@pytest.mark.parametrize(
    ("version", "told"),
    [(2, "the cloud reads records up to format version 2"), (VERSION, "does not say how large a message may be")],
    ids=["from before it was asked for", "that speaks no contract"],
)
async def test_a_cloud_that_does_not_say_what_it_takes_gets_nothing_and_is_named(
    spool, metrics, problems, version: int, told: str
) -> None:
    gate = spool.camera("gate")
    spool_records(gate, 3)
    ingest = Ingest(message_bytes=0, record_version=version)
    async with sent_to(ingest, gate, metrics, problems):
        text = await problems.first()
    assert told in text
    assert "bring the cloud up to date" in text
    assert ingest.of("gate") == []
    assert gate.holds(1)
