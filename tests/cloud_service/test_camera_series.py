"""Series by camera are bounded, whoever says Hello by whatever name, and go again where nothing came of it."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest
from sqlalchemy import Engine

from cloud_service.camera_series import MOST_CAMERAS, OTHERS, CameraNames
from cloud_service.gauges import StorageGauges
from cloud_service.metrics import Metrics
from icm.codec.bitstream.record import StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.v1.ingest_pb2 import Hello, StreamRecordsRequest
from tests.cloud_service.ingest_server import Cloud
from tests.cloud_service.parts import coded_header, header, open_store, raw, record


def series(cloud: Cloud) -> str:
    return generate_latest(cloud.metrics.registry).decode()


async def greet(cloud: Cloud, of: StreamHeader, last_persisted: int = 0) -> None:
    """Says Hello, takes the Welcome and goes away."""
    uplink, sent = cloud.uplink(), Timestamp(seconds=1)
    hello = Hello(camera=of.camera, epoch=of.epoch, codec_id=of.codec_id, send_time=sent, last_persisted=last_persisted)
    await uplink.call.write(StreamRecordsRequest(hello=hello))
    await uplink.call.read()
    assert f'icm_cloud_clock_skew_seconds{{camera="{of.camera}"}}' in series(cloud)
    await uplink.close()


async def test_names_of_which_no_record_came_leave_no_series(cloud: Cloud, loaded: Bundle) -> None:
    before = series(cloud)
    for number in range(20):
        await greet(cloud, coded_header(loaded, f"name-{number}"))
    assert series(cloud) == before


async def test_a_hello_that_is_refused_makes_no_series(cloud: Cloud, loaded: Bundle) -> None:
    before = series(cloud)
    for refused in (header("other", codec_id=bytes(32)), header("late", epoch=1 << 63, codec_id=loaded.codec_id)):
        with pytest.raises(grpc.aio.AioRpcError):
            await cloud.uplink().hello(refused)
    assert series(cloud) == before


async def test_a_camera_keeps_its_series_once_it_has_a_record(cloud: Cloud, of: StreamHeader) -> None:
    uplink = cloud.uplink()
    await uplink.hello(of)
    await uplink.send(of, [record(1)], of)
    await uplink.until(1)
    await uplink.close()
    await greet(cloud, of, 1)
    assert cloud.count("persisted") == 1


async def test_cameras_beyond_the_bound_are_counted_together(cloud: Cloud, loaded: Bundle) -> None:
    cloud.metrics.cameras._most = 2
    for camera in ("a", "b", "c", "d"):
        of, uplink = coded_header(loaded, camera), cloud.uplink()
        await uplink.hello(of)
        await uplink.send(of, [record(1)], of)
        await uplink.until(1)
        await uplink.close()
    counted = {
        camera: cloud.metrics.registry.get_sample_value(
            "icm_cloud_records_total", {"camera": camera, "outcome": "persisted"}
        )
        for camera in ("a", "b", "c", OTHERS)
    }
    assert counted == {"a": 1.0, "b": 1.0, "c": None, OTHERS: 2.0}


def test_what_is_stored_of_many_cameras_is_bounded_too(tmp_path: Path, database: Engine) -> None:
    store, sizes = open_store(tmp_path, database), []
    for number in range(5):
        of = header(f"camera-{number}")
        store.append(of, raw([record(1)], of))
        sizes.append(store.cameras()[number].bytes)
    gauges = StorageGauges(store, database, dict, CameraNames(3))
    (stored, _) = gauges.collect()
    told = {sample.labels["camera"]: sample.value for sample in stored.samples if sample.labels["tier"] == "records"}
    assert told == {f"camera-{n}": sizes[n] for n in range(3)} | {OTHERS: sum(sizes[3:])}
    store.close()


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=40), st.integers(1, 4))
def test_whatever_comes_and_goes_there_are_never_more_names_than_the_bound(
    streams: list[tuple[str, bool]], most: int
) -> None:
    names, registry = CameraNames(most), CollectorRegistry()
    counter = names.per_camera(Counter("icm_test", "Things.", ["camera"], registry=registry))
    stored: set[str] = set()
    for camera, stores in streams:
        with names.streaming(camera, lambda: camera in stored):  # noqa: B023
            counter.labels(camera).inc()
            if stores:
                stored.add(camera)
        shown = {s.labels["camera"] for family in registry.collect() for s in family.samples} - {OTHERS}
        assert shown <= stored
        assert len(shown) <= most


def test_a_stream_that_takes_over_keeps_the_series_of_the_one_that_ends() -> None:
    names, registry = CameraNames(), CollectorRegistry()
    counter = names.per_camera(Counter("icm_test", "Things.", ["camera"], registry=registry))
    with names.streaming("gate", lambda: False):
        with names.streaming("gate", lambda: False):
            counter.labels("gate").inc()
        assert registry.get_sample_value("icm_test_total", {"camera": "gate"}) == 1
    assert registry.get_sample_value("icm_test_total", {"camera": "gate"}) is None


def test_a_thousand_cameras_have_series_of_their_own() -> None:
    metrics = Metrics("test")
    for number in range(MOST_CAMERAS + 100):
        metrics.received_bytes.labels(f"camera-{number}").inc()
    sample = metrics.registry.get_sample_value
    for number in (0, MOST_CAMERAS - 1):
        assert sample("icm_cloud_received_bytes_total", {"camera": f"camera-{number}"}) == 1
    assert sample("icm_cloud_received_bytes_total", {"camera": OTHERS}) == 100
