from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter

import pytest

from edge_service.metrics import EdgeMetrics
from edge_service.spool.store import Spool
from edge_service.uplink.stream import MOST_RESENDS
from edge_service.uplink.uplink import Uplink
from icm.codec.bitstream.record import Kind
from icm.errors import ReferenceMissingError, UplinkError
from icm.rpc.channels import open_channel
from icm.service.clock import ManualClock
from icm.service.health import Problems
from icm.v1 import ingest_pb2
from tests.edge_service.ingest_server import Ingest, serving
from tests.edge_service.parts import CODEC_ID, OTHER_CODEC_ID, spool_p_records, spool_records


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_delivers_what_waits_and_what_comes_later_and_forgets_it_once_persisted(gate, sending) -> None:
    spool_records(gate, 3)
    ingest = Ingest()
    async with serving(ingest) as port, sending(gate, port) as uplink:
        await uplink.drained()
        assert gate.empty()
        spool_records(gate, 2)
        uplink.announce()
        await uplink.drained()
    assert [record.sequence for record in ingest.of("gate")] == [1, 2, 3, 4, 5]
    assert [hello.epoch for hello in ingest.hellos] == [gate.epoch]
    assert gate.last_persisted() == 5


async def test_records_that_wait_share_a_message(gate, sending) -> None:
    spool_records(gate, 6)
    ingest = Ingest(credit=8)
    async with serving(ingest) as port, sending(gate, port) as uplink:
        await uplink.drained()
    assert ingest.batches == [6]


async def test_a_message_stays_far_below_the_largest_that_the_cloud_takes(tmp_path, clock, sending) -> None:
    ingest, spool = Ingest(credit=8), Spool(tmp_path / "large", 1 << 30, 3600.0, clock)
    gate = spool.camera("gate")
    spool_records(gate, 5, size=150_000)
    spool_records(gate, 5, size=600_000)
    async with serving(ingest) as port, sending(gate, port) as uplink:
        await uplink.drained()
    spool.close()
    assert len(ingest.of("gate")) == 10
    assert ingest.batches == [5, 1, 1, 1, 1, 1]


async def test_never_has_more_in_flight_than_its_credit(gate, sending) -> None:
    spool_records(gate, 50)
    ingest = Ingest(credit=4)
    async with serving(ingest) as port, sending(gate, port) as uplink:
        await uplink.drained()
    assert ingest.most_in_flight == 4
    assert len(ingest.of("gate")) == 50


async def test_never_has_more_bytes_in_flight_than_its_credit_but_a_single_large_record(gate, sending) -> None:
    for count, size in ((3, 300), (1, 2000), (2, 300)):
        spool_records(gate, count, size=size)
    ingest = Ingest(credit_bytes=1000)
    ingest.acknowledges.clear()
    async with serving(ingest) as port, sending(gate, port) as uplink:
        await ingest.until("gate", 3)
        ingest.acknowledges.set()
        await uplink.drained()
    assert ingest.most_bytes_in_flight == max(3 * 323, 2023)
    assert len(ingest.of("gate")) == 6


async def test_acknowledgements_out_of_order_let_no_record_go_that_was_not_persisted(gate, sending) -> None:
    spool_records(gate, 6)
    ingest = Ingest(credit=6, withholds=frozenset({2}))
    async with serving(ingest) as port, sending(gate, port):
        await ingest.until_acknowledged(6)
    assert gate.last_persisted() < 2
    assert gate.holds(2)
    ingest.withholds = frozenset()
    async with serving(ingest) as port, sending(gate, port) as uplink:
        await uplink.drained()
    assert gate.last_persisted() == 6


async def test_acknowledgements_that_come_twice_change_nothing(gate, sending) -> None:
    spool_records(gate, 5)
    ingest = Ingest(credit=2, acknowledges_twice=True)
    async with serving(ingest) as port, sending(gate, port) as uplink:
        await uplink.drained()
    assert [record.sequence for record in ingest.of("gate")] == [1, 2, 3, 4, 5]
    assert ingest.duplicates == 0


async def test_the_edges_clock_is_told_in_the_hello(gate, sending) -> None:
    ingest = Ingest()
    async with serving(ingest) as port, sending(gate, port):
        await ingest.until_hellos(1)
    assert ingest.hellos[0].send_time.seconds > 1_600_000_000


async def test_an_edge_that_is_turned_away_comes_back_no_sooner_than_it_was_told(gate, sending, problems) -> None:
    spool_records(gate, 2)
    ingest = Ingest(busy_seconds=(0.5,))
    async with serving(ingest) as port, sending(gate, port) as uplink:
        await uplink.drained()
    assert ingest.hello_times[1] - ingest.hello_times[0] >= 0.5


async def test_received_is_not_persisted(gate, sending) -> None:
    spool_records(gate, 3)
    ingest = Ingest(credit=3)
    ingest.acknowledges.clear()
    async with serving(ingest) as port, sending(gate, port) as uplink:
        await ingest.until("gate", 3)
        assert not gate.empty()
        ingest.acknowledges.set()
        await uplink.drained()


async def test_a_broken_stream_is_opened_again_and_goes_on_where_the_cloud_says(gate, sending, problems) -> None:
    spool_records(gate, 20)
    ingest = Ingest(credit=5, breaks_after=10)
    async with serving(ingest) as port, sending(gate, port) as uplink:
        await uplink.drained()
    assert [record.sequence for record in ingest.of("gate")] == list(range(1, 21))
    assert len(ingest.hellos) == 2
    assert ingest.duplicates == 0
    assert problems.lines() == []


async def test_a_cloud_that_comes_late_is_a_problem_until_then(gate, sending, problems) -> None:
    spool_records(gate, 2)
    port = free_port()
    async with sending(gate, port) as uplink:
        text = await problems.first()
        assert text.startswith("uplink of gate: the cloud is away: UNAVAILABLE")
        async with serving(Ingest(), port):
            await uplink.drained()
            assert problems.lines() == []


async def test_a_cloud_that_starts_anew_with_an_empty_store_gets_what_still_waits(gate, sending) -> None:
    spool_records(gate, 4)
    port = free_port()
    first, second = Ingest(), Ingest()
    async with sending(gate, port) as uplink:
        async with serving(first, port):
            await uplink.drained()
        spool_records(gate, 3)
        uplink.announce()
        async with serving(second, port):
            await uplink.drained()
    assert [record.sequence for record in second.of("gate")] == [5, 6, 7]
    assert second.hellos[0].last_persisted == 4


async def test_what_was_damaged_on_its_way_is_sent_again_from_the_spools_whole_copy(gate, sending, sample) -> None:
    spool_records(gate, 2)
    spool_p_records(gate, 4)
    spool_records(gate, 2)
    ingest = Ingest(damages=Counter({2: 1, 4: MOST_RESENDS, 7: 1}))
    async with serving(ingest) as port, sending(gate, port) as uplink:
        await uplink.drained()
    assert list(ingest.records["gate", gate.epoch]) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert sample("icm_edge_dropped_total", camera="gate", reason="rejected_damaged") == 0


async def test_how_often_a_record_was_sent_again_is_counted_where_every_stream_of_the_camera_looks(
    gate, sending, sample
) -> None:
    """A thread that looks into the spool may outlive its stream, and would change the count under the next one."""

    class OfOneThread(Counter[int]):
        def __setitem__(self, sequence: int, count: int) -> None:
            threads.add(threading.get_ident())
            super().__setitem__(sequence, count)

    threads = set[int]()
    spool_records(gate, 5)
    async with serving(Ingest(damages=Counter({2: 1, 4: 2}))) as port, sending(gate, port) as uplink:
        uplink._resent = OfOneThread()
        await uplink.drained()
    assert threads == {threading.get_ident()}
    assert sample("icm_edge_dropped_total", camera="gate", reason="rejected_damaged") == 0


async def test_a_record_that_is_rejected_each_time_is_counted_with_its_reason_and_let_go(gate, sending, sample) -> None:
    spool_records(gate, 5)
    ingest = Ingest(rejects=frozenset({3}))
    async with serving(ingest) as port, sending(gate, port) as uplink:
        await uplink.drained()
    assert [record.sequence for record in ingest.of("gate")] == [1, 2, 4, 5]
    assert sample("icm_edge_dropped_total", camera="gate", reason="rejected_damaged") == 1
    # The cloud ends the stream after the last rejection too, and what follows goes over one more.
    assert len(ingest.hellos) == 1 + MOST_RESENDS + 1


@pytest.mark.parametrize("twice", [False, True])
async def test_a_rejection_by_a_number_that_nothing_in_flight_has_is_of_the_next_that_is(
    gate, sending, sample, twice: bool
) -> None:
    """The cloud names the one after the last that it could read, which after a gap is none that was sent."""
    spool_records(gate, 6)
    ingest = Ingest(rejects=frozenset({3, 5}), misnames={3: 2}, acknowledges_twice=twice)
    async with serving(ingest) as port, sending(gate, port) as uplink:
        await uplink.drained()
    assert [record.sequence for record in ingest.of("gate")] == [1, 2, 4, 6]
    assert sample("icm_edge_dropped_total", camera="gate", reason="rejected_damaged") == 2


async def test_many_rejections_fill_no_log(gate, sending, caplog, clock) -> None:
    spool_records(gate, 8)
    ingest = Ingest(rejects=frozenset(range(2, 9)), reason=ingest_pb2.REJECT_REASON_UNSPECIFIED)
    async with serving(ingest) as port, sending(gate, port, clock=clock) as uplink:
        await uplink.drained()
    told = [message for message in caplog.messages if "rejected" in message]
    assert [message.partition(" (rejected_unspecified)")[0] for message in told] == [
        "camera gate: the cloud rejected records 2 to 2",
        "camera gate: the cloud rejected records 8 to 8",
    ]
    assert "5 more like it" in told[1]


async def test_a_cloud_that_lacks_what_a_record_leans_on_gets_next_what_stands_alone(gate, sending, sample) -> None:
    spool_records(gate, 1)
    spool_p_records(gate, 8, intra_copies={5})
    gate.persisted(1, 2)
    # A cloud that lost its disk: 3 and 4 lean on what it had.
    ingest = Ingest()
    async with serving(ingest) as port, sending(gate, port) as uplink:
        await uplink.drained()
    assert [(record.sequence, record.kind) for record in ingest.of("gate")] == [
        (5, Kind.I), (6, Kind.P), (7, Kind.P), (8, Kind.P), (9, Kind.P),
    ]  # fmt: skip
    assert sample("icm_edge_dropped_total", camera="gate", reason="rejected_reference_missing") == 1
    assert len(ingest.hellos) == 2


async def test_after_a_rejection_nothing_leans_on_what_was_rejected(gate, sending) -> None:
    spool_records(gate, 3)
    async with serving(Ingest(rejects=frozenset({3}))) as port, sending(gate, port) as uplink:
        await uplink.drained()
    with pytest.raises(ReferenceMissingError, match="refers to record 3"):
        spool_p_records(gate, 1)
    spool_records(gate, 1)
    spool_p_records(gate, 1)


async def test_rate_control_is_told_of_whole_messages_and_when_they_were_sent(
    gate, metrics: EdgeMetrics, problems: Problems
) -> None:
    clock, told = ManualClock(), list[tuple[int, float]]()
    ingest = Ingest(rejects=frozenset({2}), reason=ingest_pb2.REJECT_REASON_UNSPECIFIED)
    ingest.acknowledges.clear()
    async with serving(ingest) as port, asyncio.timeout(20):
        channel = open_channel(f"127.0.0.1:{port}", allow_plaintext=False)
        uplink = Uplink(
            gate, CODEC_ID, channel, metrics, problems, acknowledged=lambda *each: told.append(each), clock=clock
        )
        clock.advance(100.0)
        spool_records(gate, 4, size=100)
        task = asyncio.create_task(uplink.run())
        await ingest.until("gate", 3)
        clock.advance(7.0)
        # This cloud acknowledges record by record.
        ingest.acknowledges.set()
        await uplink.drained()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await channel.close()
    assert told == [(4 * 123, 100.0)]


async def test_records_that_come_fast_share_messages_and_the_first_is_not_held_back(gate, sending) -> None:
    ingest, clock = Ingest(), ManualClock()
    async with serving(ingest) as port, sending(gate, port, batch_seconds=2.0, clock=clock) as uplink:
        spool_records(gate, 1)
        uplink.announce()
        await ingest.until("gate", 1)
        for _ in range(5):
            spool_p_records(gate, 1)
            uplink.announce()
        await clock.until_slept_by()
        clock.advance(2.0)
        await uplink.drained()
    assert ingest.batches == [1, 5]


async def test_a_record_that_comes_late_is_not_held_back(gate, sending) -> None:
    ingest, clock = Ingest(), ManualClock()
    async with serving(ingest) as port, sending(gate, port, batch_seconds=2.0, clock=clock) as uplink:
        for _ in range(3):
            spool_records(gate, 1)
            uplink.announce()
            await uplink.drained()
            clock.advance(2.0)
    assert ingest.batches == [1, 1, 1]


async def test_nothing_is_held_back_while_somebody_waits_for_a_record(gate, sending) -> None:
    ingest, clock = Ingest(), ManualClock()
    async with serving(ingest) as port, sending(gate, port, batch_seconds=60.0, clock=clock) as uplink:
        spool_records(gate, 1)
        uplink.announce()
        await ingest.until("gate", 1)
        spool_p_records(gate, 1)
        uplink.announce()
        await clock.until_slept_by()
        await uplink.persisted(2)
    assert ingest.batches == [1, 1]


async def test_who_waits_for_a_record_hears_that_it_is_persisted_or_why_it_was_rejected(gate, sending) -> None:
    spool_records(gate, 2)
    ingest = Ingest(rejects=frozenset({2}))
    ingest.acknowledges.clear()
    async with serving(ingest) as port, sending(gate, port) as uplink:
        waiting = [asyncio.create_task(uplink.persisted(sequence)) for sequence in (1, 2)]
        await ingest.until("gate", 1)
        ingest.acknowledges.set()
        await waiting[0]
        with pytest.raises(UplinkError, match="its checksum does not fit"):
            await waiting[1]
        await uplink.persisted(1)


async def test_records_of_an_earlier_bundle_go_first_on_a_stream_of_their_own(gate, sending) -> None:
    spool_records(gate, 3, codec_id=OTHER_CODEC_ID)
    spool_records(gate, 3)
    ingest = Ingest(credit=2)
    async with serving(ingest) as port, sending(gate, port) as uplink:
        await uplink.drained()
    assert [hello.codec_id for hello in ingest.hellos] == [OTHER_CODEC_ID, CODEC_ID]
    assert [record.sequence for record in ingest.of("gate")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("version", [0, 2])
async def test_records_wait_for_a_cloud_that_reads_their_version_of_the_format(
    gate, sending, problems, version: int
) -> None:
    spool_records(gate, 3)
    ingest = Ingest(record_version=version)
    async with serving(ingest) as port, sending(gate, port):
        assert "bring the cloud up to date" in await problems.first()
    assert len(gate.read(0, 9, 1000).records) == 3
    assert not ingest.of("gate")


async def test_two_cameras_share_a_channel(spool, metrics, problems) -> None:
    cameras = [spool.camera(name) for name in ("gate", "yard")]
    for camera in cameras:
        spool_records(camera, 10)
    ingest = Ingest(credit=3)
    async with serving(ingest) as port:
        channel = open_channel(f"127.0.0.1:{port}", allow_plaintext=False)
        uplinks = [Uplink(camera, CODEC_ID, channel, metrics, problems) for camera in cameras]
        tasks = [asyncio.create_task(uplink.run()) for uplink in uplinks]
        async with asyncio.timeout(20):
            await asyncio.gather(*(uplink.drained() for uplink in uplinks))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await channel.close()
    assert len(ingest.of("gate")) == len(ingest.of("yard")) == 10
