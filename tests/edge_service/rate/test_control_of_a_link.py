"""Rate control on a real link: the uplink's own acknowledgements, through a proxy that carries only so much."""

from __future__ import annotations

import asyncio

from edge_service.metrics import EdgeMetrics
from edge_service.rate.control import RateControl, RateTarget
from edge_service.spool.store import Spool
from edge_service.uplink.uplink import Uplink
from icm.rpc.channels import open_channel
from icm.service.clock import SystemClock
from icm.service.health import Problems
from icm_bench.delivery.fault_proxy import FaultProxy
from tests.edge_service.ingest_server import Ingest, serving
from tests.edge_service.parts import CODEC_ID, spool_p_records, spool_records

TARGET = 240_000.0
LINK = 80_000.0
PATIENCE_SECONDS = 60


async def test_a_camera_falls_below_what_a_thin_link_carries_and_rises_once_it_carries_more(
    spool: Spool, metrics: EdgeMetrics, problems: Problems
) -> None:
    gate = spool.camera("gate")
    rate = RateControl("gate", RateTarget(3.0, TARGET), 7.0, lambda: gate.waiting_bytes, 0.0, SystemClock())

    reached, goal = asyncio.Event(), (0.0, 1.2 * LINK)

    async def film() -> None:
        while True:
            if rate.next(owed=False) is not None:
                before = gate.waiting_bytes
                spool_p_records(gate, 1, size=1500)
                rate.coded(gate.waiting_bytes - before)
                uplink.announce()
            if goal[0] < rate.state.target < goal[1]:
                reached.set()
            await asyncio.sleep(0.05)

    async with serving(Ingest()) as port, asyncio.timeout(PATIENCE_SECONDS):
        proxy = FaultProxy(port)
        proxy.bytes_per_second = LINK / 8
        await proxy.start()
        channel = open_channel(f"127.0.0.1:{proxy.port}", allow_plaintext=False)
        uplink = Uplink(gate, CODEC_ID, channel, metrics, problems, acknowledged=rate.acknowledged)
        spool_records(gate, 1)
        tasks = [asyncio.create_task(uplink.run()), asyncio.create_task(film())]
        await reached.wait()
        goal = 1.1 * rate.state.target, TARGET
        reached.clear()
        proxy.bytes_per_second = None
        await reached.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await channel.close()
        await proxy.stop()
