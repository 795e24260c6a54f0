"""The ingest, on a real server: what a client may rely on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from cloud_service.detection import Detection
from cloud_service.events.store import FrameEvent
from cloud_service.ingest import service
from cloud_service.store import Position
from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.frame_id import FrameId
from icm.rpc.channels import open_channel
from icm.rpc.limits import ClientLimits
from icm.rpc.servers import Server
from icm.rpc.status import reason_of
from icm.v1.ingest_pb2 import (
    ACK_STATE_PERSISTED,
    ACK_STATE_REJECTED,
    REJECT_REASON_DAMAGED,
    REJECT_REASON_REFERENCE_MISSING,
    Hello,
    RecordBatch,
    StreamRecordsRequest,
)
from icm.v1.ingest_pb2_grpc import IngestServiceStub, add_IngestServiceServicer_to_server
from tests.cloud_service.ingest_server import CREDIT, CREDIT_BYTES, Cloud
from tests.cloud_service.parts import EPOCH, START_US, coded_header, header, record


async def test_records_are_persisted_and_neighbours_share_an_answer(cloud: Cloud, of: StreamHeader) -> None:
    uplink = cloud.uplink()
    welcome = await uplink.hello(of)
    assert (welcome.resume_after, welcome.credit, welcome.credit_bytes) == (0, CREDIT, CREDIT_BYTES)
    await uplink.send(of, [record(n) for n in (1, 2, 3, 5)], of)
    await uplink.until(5)
    assert uplink.ranges(ACK_STATE_PERSISTED) == [(1, 3), (5, 5)]
    assert all(cloud.store.holds("gate", EPOCH, n) for n in (1, 2, 3, 5))
    assert cloud.count("persisted") == 4


async def test_an_edge_is_told_once_in_which_frame_something_was_found(cloud: Cloud, of: StreamHeader) -> None:
    def look(sequence: int, *found: Detection, epoch: int = EPOCH) -> None:
        cloud.detections.note([FrameEvent(FrameId("gate", epoch, sequence), START_US, "brightness", found)])

    person, told = Detection("person", 0.9, 1.0, 2.0, 3.0, 4.0), []
    uplink = cloud.uplink()
    await uplink.hello(of)
    for sequence in range(1, 6):
        await uplink.send(of, [record(sequence)], of)
        told.append((await uplink.until(sequence)).last_detected)
        look(sequence, *(person,) * (sequence in (2, 3)))
        look(sequence + 100, person, epoch=EPOCH + 1)
    assert told == [0, 0, 2, 3, 0]


async def test_a_stream_that_says_nothing_is_ended(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "HELLO_SECONDS", 0.01)
    error = await cloud.uplink().failure()
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "PROTOCOL_VIOLATION")
    assert "no Hello" in (error.details() or "")


async def test_a_message_that_is_none_ends_the_call_with_the_reason(cloud: Cloud) -> None:
    # An app has guards always; here they are what is under test.
    limits = ClientLimits(8, 1 << 20, cloud.clock)
    server = Server("127.0.0.1:0", False, None, (limits,))
    add_IngestServiceServicer_to_server(cloud.service, server.grpc)
    await server.start()
    async with open_channel(f"127.0.0.1:{server.port}", allow_plaintext=False) as channel:
        raw_stream = channel.stream_stream("/icm.v1.IngestService/StreamRecords", None, None)
        call = raw_stream(iter([b"\xff"]))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
    await server.stop(0)
    assert (refused.value.code(), reason_of(refused.value)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "PROTOCOL_VIOLATION",
    )


async def test_a_returning_edge_is_told_where_to_go_on(cloud: Cloud, of: StreamHeader) -> None:
    first = cloud.uplink()
    await first.hello(of)
    await first.send(of, [record(n) for n in range(1, 5)], of)
    await first.until(4)
    await first.close()
    assert (await cloud.uplink().hello(of, last_persisted=2)).resume_after == 4


async def test_a_record_sent_twice_is_persisted_once_and_acknowledged_twice(cloud: Cloud, of: StreamHeader) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    for header_bytes in (of, None):
        await uplink.send(header_bytes, [record(1)], of)
        await uplink.until(1)
    assert uplink.ranges(ACK_STATE_PERSISTED) == [(1, 1), (1, 1)]
    assert cloud.store.cameras()[0].records == 1
    assert (cloud.count("persisted"), cloud.count("duplicate")) == (1, 1)


async def test_a_damaged_record_is_rejected_by_its_number_and_can_be_sent_again_before_what_follows(
    cloud: Cloud, of: StreamHeader
) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    damaged = bytearray(record(2).pack(of))
    damaged[-1] ^= 0xFF
    await uplink.send(of, [record(1), bytes(damaged), record(3)], of)
    rejection = await uplink.until(2)
    assert (rejection.first_sequence, rejection.last_sequence, rejection.reason) == (2, 2, REJECT_REASON_DAMAGED)
    assert "checksum" in rejection.detail
    assert "record 2 came damaged" in ((await uplink.failure()).details() or "")
    again = cloud.uplink()
    await again.hello(of)
    await again.send(of, [record(1), record(2), record(3)], of)
    await again.until(3)
    assert again.ranges(ACK_STATE_PERSISTED) == [(1, 3)]
    chunk = cloud.store.read("gate", Position(0, 0), 9)
    assert chunk is not None
    assert [stored.sequence for stored in chunk.records] == [1, 2, 3]


async def test_many_damaged_records_fill_no_log(
    cloud: Cloud, of: StreamHeader, caplog: pytest.LogCaptureFixture
) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    leaning = Record(9, START_US, Kind.P, 2, 48, 1, b"")
    await uplink.send(b"no header", [b"none"] * (CREDIT - 1), of)
    await uplink.send(of, [leaning], of)
    await uplink.until(9)
    told = [message for message in caplog.messages if "rejecting" in message]
    assert [message.partition(": ")[2].partition(":")[0] for message in told] == [
        "rejecting record 1", "rejecting record 9",
    ]  # fmt: skip
    (stream,) = cloud.service._streams.values()
    await uplink.close()
    await stream.ended.wait()
    assert f"{CREDIT - 3} more like it" in caplog.messages[-1]


@pytest.mark.parametrize("garbage", [b"", b"\xff" * 3, b"\xff" * 300])
async def test_bytes_that_are_no_record_take_the_number_that_was_due(
    cloud: Cloud, of: StreamHeader, garbage: bytes
) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of, last_persisted=6)
    await uplink.send(of, [garbage], of)
    assert (await uplink.until(7)).state == ACK_STATE_REJECTED


async def test_a_record_whose_reference_is_not_here_is_rejected_until_it_is(cloud: Cloud, of: StreamHeader) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    leaning = Record(3, START_US, Kind.P, 2, 48, 1, b"")
    await uplink.send(of, [leaning], of)
    rejection = await uplink.until(3)
    assert rejection.reason == REJECT_REASON_REFERENCE_MISSING
    await uplink.send(None, [record(1), leaning], of)
    assert (await uplink.until(3)).state == ACK_STATE_PERSISTED


async def test_a_record_that_lacks_its_reference_is_rejected_by_its_own_number_after_any_gap(
    cloud: Cloud, of: StreamHeader
) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    await uplink.send(of, [record(1), Record(70_000, START_US, Kind.P, 2, 48, 1, b"")], of)
    assert (await uplink.until(70_000)).reason == REJECT_REASON_REFERENCE_MISSING
    await uplink.send(None, [record(70_001)], of)
    assert (await uplink.until(70_001)).state == ACK_STATE_PERSISTED


async def test_another_edge_is_refused_while_a_cameras_stream_lives_and_both_are_named(
    cloud: Cloud, of: StreamHeader, loaded: Bundle
) -> None:
    first, second = cloud.uplink(), cloud.uplink()
    await first.hello(of)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await second.hello(coded_header(loaded, epoch=EPOCH + 1))
    assert (refusal.value.code(), reason_of(refusal.value)) == (grpc.StatusCode.FAILED_PRECONDITION, "CAMERA_TAKEN")
    told = refusal.value.details() or ""
    assert f"(epoch {EPOCH})" in told
    assert f"(epoch {EPOCH + 1})" in told
    assert told.count("127.0.0.1:") == 2
    await first.send(of, [record(1)], of)
    assert (await first.until(1)).state == ACK_STATE_PERSISTED
    await first.close()
    assert (await cloud.uplink().hello(coded_header(loaded, epoch=EPOCH + 1))).resume_after == 0


async def test_records_out_of_order_and_again_are_all_kept_once(cloud: Cloud, of: StreamHeader) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    await uplink.send(of, [record(n) for n in (5, 2, 4, 2)], of)
    await uplink.until(2)
    await uplink.send(None, [record(n) for n in (1, 3, 5, 3)], of)
    await uplink.until(3)
    await uplink.close()
    assert cloud.store.cameras()[0].records == 5
    assert cloud.store.resume_after("gate", EPOCH, 0) == 5
    assert (cloud.count("persisted"), cloud.count("duplicate")) == (5, 3)


@pytest.mark.parametrize("behind", [90.0, -90.0])
async def test_how_far_an_edges_clock_is_off_can_be_read(cloud: Cloud, of: StreamHeader, behind: float) -> None:
    for sequence, drift in ((1, 0.0), (2, 5.0)):
        call = cloud.uplink().call
        sent = Timestamp()
        sent.FromMicroseconds(cloud.clock.now_us() - round((behind + drift) * 1e6))
        hello = Hello(camera="gate", epoch=EPOCH, codec_id=of.codec_id, send_time=sent if sequence == 1 else None)
        await call.write(StreamRecordsRequest(hello=hello))
        await call.read()
        if sequence == 2:
            batch = RecordBatch(stream_header=of.pack(), records=[record(1).pack(of)], send_time=sent)
            await call.write(StreamRecordsRequest(batch=batch))
            await call.read()
        skew = cloud.metrics.registry.get_sample_value("icm_cloud_clock_skew_seconds", {"camera": "gate"})
        assert skew == pytest.approx(behind + drift)


async def test_an_edge_with_another_codec_is_told_which_bundle_the_cloud_has(cloud: Cloud, loaded: Bundle) -> None:
    uplink = cloud.uplink()
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await uplink.hello(header(codec_id=bytes(32)))
    assert refusal.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(refusal.value) == "CODEC_MISMATCH"
    assert loaded.name in (refusal.value.details() or "")


async def test_a_camera_name_that_could_be_a_path_is_refused(cloud: Cloud, loaded: Bundle) -> None:
    call = IngestServiceStub(cloud.channel).StreamRecords()
    hello = {"camera": "../../etc", "epoch": 1, "codec_id": loaded.codec_id}
    await call.write(StreamRecordsRequest(hello=hello))  # type: ignore[arg-type]
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call.read()
    assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("epoch", [0, 1 << 63])
async def test_an_epoch_that_no_database_holds_is_refused(cloud: Cloud, loaded: Bundle, epoch: int) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="epoch"):
        await cloud.uplink().hello(coded_header(loaded, epoch=epoch))


async def test_records_before_any_stream_header_end_the_stream(cloud: Cloud, of: StreamHeader) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    await uplink.send(None, [record(1)], of)
    assert "stream header" in ((await uplink.failure()).details() or "")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda header: replace(header, camera="yard").pack(), "must be those of the Hello"),
        (lambda header: replace(header, base_us=(1 << 64) - 1).pack(), "beyond the year 9986"),
        (lambda header: header.pack()[:-1] + bytes(1), "its checksum does not fit"),
    ],
    ids=["of another camera", "of a time that no calendar knows", "damaged"],
)
async def test_what_comes_under_a_header_of_no_use_is_rejected_and_what_follows_under_a_good_one_is_kept(
    cloud: Cloud, of: StreamHeader, spoil: Callable[[StreamHeader], bytes], complaint: str
) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    await uplink.send(spoil(of), [record(1), record(2)], of)
    await uplink.send(None, [record(3)], of)
    for sequence in (1, 2, 3):
        ack = await uplink.until(sequence)
        assert (ack.state, ack.reason) == (ACK_STATE_REJECTED, REJECT_REASON_DAMAGED)
        assert complaint in ack.detail
    await uplink.send(of, [record(4)], of)
    assert (await uplink.until(4)).state == ACK_STATE_PERSISTED
    assert cloud.count("rejected") == 3


async def test_a_stream_that_does_not_say_hello_first_is_ended(cloud: Cloud, of: StreamHeader) -> None:
    uplink = cloud.uplink()
    await uplink.send(of, [record(1)], of)
    assert "Hello" in ((await uplink.failure()).details() or "")


async def test_a_newer_stream_of_the_same_edge_ends_the_older(cloud: Cloud, of: StreamHeader) -> None:
    older, newer = cloud.uplink(), cloud.uplink()
    await older.hello(of)
    await newer.hello(of)
    assert reason_of(await older.failure()) == "BUSY"
    await newer.send(of, [record(1)], of)
    assert (await newer.until(1)).state == ACK_STATE_PERSISTED


async def test_a_stopping_cloud_acknowledges_what_came_and_ends_the_stream_in_order(
    cloud: Cloud, of: StreamHeader
) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    await uplink.send(of, [record(1)], of)
    await uplink.until(1)
    await cloud.service.drain()
    assert await uplink.call.read() is grpc.aio.EOF
    assert await uplink.call.code() == grpc.StatusCode.OK
    with pytest.raises(grpc.aio.AioRpcError, match="stopping"):
        await cloud.uplink().hello(of)


async def test_an_error_that_nobody_foresaw_ends_the_stream_instead_of_holding_it_up(
    cloud: Cloud, of: StreamHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(camera: str, epoch: int) -> int:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(cloud.detections, "sequence", broken)
    uplink = cloud.uplink()
    await uplink.hello(of)
    await uplink.send(of, [record(1)], of)
    assert (await uplink.failure()).code() == grpc.StatusCode.UNKNOWN
