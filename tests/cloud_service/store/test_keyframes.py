"""P records in the cloud: what is accepted, and that any frame can be reached without the stream's start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine

from cloud_service.api.archive_service import ArchiveService
from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.bundles import Bundles
from cloud_service.events.feed import EventFeed
from cloud_service.events.store import EventStore
from cloud_service.feedback.broken_references import BrokenReferences
from cloud_service.feedback.leases import Leases
from cloud_service.feedback.segment_leases import SegmentLeases
from cloud_service.inspection.stored_frames import StoredFrames
from cloud_service.processing.engine.base import LaneId
from cloud_service.processing.engine.decoding import BatchDecoder
from cloud_service.processing.lanes import work_of
from cloud_service.store import Position, RecordStore
from cloud_service.store import chains as store_module
from cloud_service.store.segment import MAX_BYTES, MAX_RECORDS
from icm.codec.bitstream.record import MAX_PAYLOAD, Kind, Record, StreamHeader, parse_stream
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.codec.encoder import CodedFrame, Encoder
from icm.errors import BusyError, IcmError, NotFoundError, ReferenceMissingError
from icm.service.clock import ManualClock
from icm.v1 import archive_pb2 as pb
from icm.v1.frame_pb2 import FrameRef
from icm.v1.ingest_pb2 import ACK_STATE_REJECTED, REJECT_REASON_REFERENCE_MISSING
from tests.cloud_service.ingest_server import Cloud
from tests.cloud_service.parts import FRAME_US, HEIGHT, START_US, WIDTH, coded_header, open_store, raw
from tests.cloud_service.processing.test_pipeline import Reader

FRAMES = 35
A_SEGMENT = 10


@pytest.fixture(scope="module")
def stream(loaded: Bundle) -> list[CodedFrame]:
    """A still scene through which a spot moves: an I frame and P frames."""
    encoder, scene = Encoder(loaded), np.random.default_rng(1).integers(60, 200, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    frames = []
    for index in range(FRAMES):
        picture = scene.copy()
        picture[8:24, index : index + 12] = 255
        frames.append(encoder.encode(picture, 5))
    return frames


@pytest.fixture
def records(stream: list[CodedFrame]) -> list[Record]:
    return [frame.record(n, START_US + (n - 1) * FRAME_US) for n, frame in enumerate(stream, 1)]


@pytest.fixture
def store(tmp_path: Path, database: Engine) -> RecordStore:
    return open_store(tmp_path / "records", database)


def decode(store: RecordStore, loaded: Bundle, lane: str = "live", first_segment: int = 0) -> list[bool]:
    """Reads a camera's log as a lane does; says of each record whether it could be decoded."""
    decoder, position, done = BatchDecoder(Bundles([loaded])), Position(first_segment, 0), []
    while (chunk := store.read("gate", position, 4)) is not None:
        work = work_of(LaneId("gate", lane), chunk, store.keyframes, detect=True, archive=False)
        frames, keyframe = decoder.decode(work)
        if keyframe is not None:
            store.keyframes.keep(chunk.segment, chunk.header, keyframe)
        done += [not isinstance(frame, IcmError) and decoder.picture(work, frame).size > 0 for frame in frames]
        position = chunk.next
    return done


def keyframes(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.keyframe"))


def test_the_camera_sent_one_i_record(records: list[Record]) -> None:
    assert [record.kind for record in records] == [Kind.I] + (FRAMES - 1) * [Kind.P]


def test_every_segment_that_begins_with_a_p_record_gets_a_keyframe_of_its_first_frame(
    store: RecordStore, loaded: Bundle, records: list[Record], tmp_path: Path
) -> None:
    of = coded_header(loaded)
    store.append(of, raw(records, of))
    store.close()
    assert decode(store, loaded) == FRAMES * [True]
    found = keyframes(tmp_path)
    assert len(found) == 3
    for number, path in enumerate(found, 1):
        header, (keyframe,) = parse_stream(path.read_bytes())
        first = records[number * A_SEGMENT]
        assert header == of
        assert (keyframe.kind, keyframe.sequence, keyframe.capture_us, keyframe.digest, keyframe.quality) == (
            Kind.I, first.sequence, first.capture_us, first.digest, first.quality,
        )  # fmt: skip


def test_with_keyframes_reading_begins_at_any_segment(
    store: RecordStore, loaded: Bundle, records: list[Record]
) -> None:
    of = coded_header(loaded)
    store.append(of, raw(records, of))
    store.close()
    decode(store, loaded)
    for number in (1, 2, 3, 4):
        assert store.decodable_from("gate", number) == number
        assert all(decode(store, loaded, first_segment=number))
    assert store.decodable_from("gate", 9) == 4


def test_without_keyframes_reading_begins_at_the_last_i_record(
    store: RecordStore, loaded: Bundle, records: list[Record]
) -> None:
    of = coded_header(loaded)
    store.append(of, raw(records, of))
    store.close()
    assert [store.decodable_from("gate", number) for number in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert not any(decode(store, loaded, first_segment=3))


@pytest.mark.parametrize("harm", ["gone", "empty", "torn", "flipped", "another's"])
def test_a_keyframe_that_is_lost_or_damaged_is_made_again(
    store: RecordStore, loaded: Bundle, records: list[Record], tmp_path: Path, harm: str
) -> None:
    of = coded_header(loaded)
    store.append(of, raw(records, of))
    store.close()
    decode(store, loaded)
    path, other = keyframes(tmp_path)[1], keyframes(tmp_path)[0]
    whole = path.read_bytes()
    match harm:
        case "gone":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "torn":
            path.write_bytes(whole[:-9])
        case "flipped":
            path.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
        case "another's":
            path.write_bytes(other.read_bytes())
    assert store.decodable_from("gate", 3) == 2
    assert all(decode(store, loaded, first_segment=2))
    assert path.read_bytes() == whole


def test_any_frame_can_be_had_by_its_name_with_keys_and_without(
    store: RecordStore, loaded: Bundle, records: list[Record], tmp_path: Path
) -> None:
    of = coded_header(loaded)
    store.append(of, raw(records, of))
    store.close()
    for most in (FRAMES, A_SEGMENT):
        for wanted in (1, 10, 11, 25, FRAMES):
            header, chain, _ = store.find("gate", of.epoch, wanted)
            assert len(chain) <= most
            decoder = Decoder(loaded)
            latents = [decoder.latents(record, header.width, header.height) for record in chain]
            assert latents[-1].digest() == records[wanted - 1].digest
        decode(store, loaded)


def test_segments_of_the_formats_version_before_are_read_and_get_keyframes(
    store: RecordStore, loaded: Bundle, stream: list[CodedFrame], tmp_path: Path
) -> None:
    of = replace(coded_header(loaded), version=2)
    records = [
        replace(frame.record(n, START_US + (n - 1) * FRAME_US), digest=frame.latents.digest(2), version=2)
        for n, frame in enumerate(stream, 1)
    ]
    store.append(of, raw(records, of))
    store.close()
    assert all(decode(store, loaded))
    assert len(keyframes(tmp_path)) == 3
    assert all(decode(store, loaded, "another", first_segment=3))
    assert store.find("gate", of.epoch, FRAMES).records[0].version == 2


@pytest.mark.parametrize("harm", ["gone", "flipped"])
async def test_who_asks_for_a_frame_makes_the_keys_that_lack_on_the_way(
    store: RecordStore, loaded: Bundle, records: list[Record], tmp_path: Path, database: Engine, harm: str
) -> None:
    of = coded_header(loaded)
    store.append(of, raw(records, of))
    store.close()
    decode(store, loaded)
    whole = {path: path.read_bytes() for path in keyframes(tmp_path)}
    assert len(whole) == 3
    for path, content in whole.items():
        path.unlink() if harm == "gone" else path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    archive = ArchiveService(
        StoredFrames(store, Bundles([loaded]), SegmentLeases(Leases(ManualClock(0)), store)),
        store,
        VideoCatalogue(database),
        EventStore(database),
        EventFeed(),
        detects=False,
    )
    frame = FrameRef(camera="gate", epoch=of.epoch, sequence=FRAMES)
    assert (await archive.GetFrame(pb.GetFrameRequest(frame=frame), context=None)).image
    assert {path: path.read_bytes() for path in keyframes(tmp_path)} == whole


@pytest.mark.parametrize("bound", ["MOST_RECORDS_DECODED", "MOST_BYTES_DECODED"])
def test_a_frame_with_too_much_before_it_is_refused_for_now(
    store: RecordStore, loaded: Bundle, records: list[Record], monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    most = {"MOST_RECORDS_DECODED": 15, "MOST_BYTES_DECODED": sum(len(record.payload) for record in records[:15])}
    monkeypatch.setattr(store_module, bound, most[bound])
    of = coded_header(loaded)
    store.append(of, raw(records, of))
    store.close()
    assert len(store.find("gate", of.epoch, 12).records) == 12
    with pytest.raises(BusyError, match=rf"{most[bound]}\b.*once the detector has come by"):
        store.find("gate", of.epoch, 25)
    decode(store, loaded)
    assert store.find("gate", of.epoch, 25).records


def test_what_one_segment_holds_is_never_too_much() -> None:
    assert store_module.MOST_RECORDS_DECODED >= MAX_RECORDS
    assert store_module.MOST_BYTES_DECODED >= MAX_BYTES + MAX_PAYLOAD


def test_a_frame_that_leans_on_one_that_is_gone_is_a_typed_error(
    store: RecordStore, loaded: Bundle, records: list[Record]
) -> None:
    of = coded_header(loaded)
    store.append(of, raw(records[5:], of))
    with pytest.raises(ReferenceMissingError, match="needs record 5, which is not here"):
        store.find("gate", of.epoch, 8)
    with pytest.raises(NotFoundError):
        store.find("gate", of.epoch, 5)


def test_a_restarted_cloud_goes_on_from_a_keyframe_and_detects_and_renders_nothing_twice(
    tmp_path: Path, database: Engine, loaded: Bundle, coded: list[CodedFrame], records: list[Record]
) -> None:
    reader = Reader(tmp_path, database, loaded, coded)
    reader.append(records[:25])
    reader.work_off()
    reader.store.close()
    seen = reader.detector.seen
    # The stream's start is not needed any more.
    next((tmp_path / "records").rglob("*-000001.icm")).rename(tmp_path / "away")
    reader.start()
    reader.append(records[25:])
    reader.store.close()
    reader.work_off()
    assert reader.seen() == list(range(1, FRAMES + 1))
    assert reader.detector.seen == seen + FRAMES - 25
    assert reader.rendered() == [10, 10, 5, 10]


def test_records_that_cannot_be_decoded_are_told_to_the_ingest(
    tmp_path: Path, database: Engine, loaded: Bundle, coded: list[CodedFrame], records: list[Record]
) -> None:
    reader = Reader(tmp_path, database, loaded, coded)
    reader.append([*records[:4], *records[5:8]])
    reader.work_off()
    assert reader.seen() == [1, 2, 3, 4]
    assert reader.chains.broken("gate", coded_header(loaded).epoch)


def test_a_chain_counts_as_broken_until_an_i_record_comes_and_not_for_what_came_before_it() -> None:
    chains = BrokenReferences()
    chains.report("gate", 7, 5)
    assert chains.broken("gate", 7)
    assert not chains.broken("gate", 8)
    chains.is_intra("gate", 7, 9)
    assert not chains.broken("gate", 7)
    chains.report("gate", 7, 8)
    assert not chains.broken("gate", 7)


async def test_a_p_record_is_taken_only_right_after_the_one_that_it_leans_on(
    cloud: Cloud, of: StreamHeader, records: list[Record]
) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    await uplink.send(of, records[:3], of)
    await uplink.until(3)
    await uplink.send(None, records[4:6], of)
    for sequence in (5, 6):
        ack = await uplink.until(sequence)
        assert (ack.state, ack.reason) == (ACK_STATE_REJECTED, REJECT_REASON_REFERENCE_MISSING)
        assert "the newest that is here is 3; send an I record" in ack.detail
    await uplink.send(None, records[3:5], of)
    assert (await uplink.until(5)).state != ACK_STATE_REJECTED


async def test_a_p_record_may_lean_on_what_an_earlier_stream_brought_late(
    cloud: Cloud, of: StreamHeader, records: list[Record]
) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    cloud.store.append(of, raw(records[:3], of))
    await uplink.send(of, records[3:5], of)
    await uplink.until(5)
    assert not uplink.ranges(ACK_STATE_REJECTED)


async def test_a_repeated_p_record_is_a_duplicate_and_not_an_orphan(
    cloud: Cloud, of: StreamHeader, records: list[Record]
) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    await uplink.send(of, [*records[:4], *records[1:3], records[4]], of)
    await uplink.until(5)
    assert not uplink.ranges(ACK_STATE_REJECTED)
    assert (cloud.count("persisted"), cloud.count("duplicate")) == (5, 2)


async def test_a_camera_whose_records_cannot_be_decoded_is_asked_for_an_i_record(
    cloud: Cloud, of: StreamHeader, records: list[Record], coded: list[CodedFrame]
) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    await uplink.send(of, records[:3], of)
    await uplink.until(3)
    cloud.chains.report("gate", of.epoch, 3)
    await uplink.send(None, records[3:4], of)
    ack = await uplink.until(4)
    assert (ack.state, ack.reason) == (ACK_STATE_REJECTED, REJECT_REASON_REFERENCE_MISSING)
    assert "one is lost or damaged here; send an I record" in ack.detail
    await uplink.send(None, [coded[0].record(5, records[4].capture_us)], of)
    assert (await uplink.until(5)).state != ACK_STATE_REJECTED


async def test_a_stream_goes_on_after_a_restart_of_the_cloud_with_a_p_record(
    loaded: Bundle, tmp_path: Path, database: Engine, of: StreamHeader, records: list[Record]
) -> None:
    for part in (records[:5], records[5:9]):
        async with Cloud(loaded, open_store(tmp_path / "records", database)).running() as cloud:
            uplink = cloud.uplink()
            await uplink.hello(of, part[0].sequence - 1)
            await uplink.send(of, part, of)
            await uplink.until(part[-1].sequence)
            assert not uplink.ranges(ACK_STATE_REJECTED)
