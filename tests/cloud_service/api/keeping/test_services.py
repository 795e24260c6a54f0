"""Storage, verifications and re-detections over RPC, with both clients, and over mutual TLS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest

from icm.client.cloud import AsyncCloudClient, CloudClient
from icm.client.connection import Tls
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from icm.errors import ConfigError, NotFoundError, PermissionDeniedError
from icm.v1 import redetection_pb2, storage_pb2, verification_pb2
from icm.v1.redetection_pb2_grpc import RedetectionServiceStub
from icm.v1.storage_pb2_grpc import StorageServiceStub
from icm.v1.verification_pb2_grpc import VerificationServiceStub
from tests.certificates import Certificates
from tests.cloud_service.parts import START_US, coded_header, coded_records
from tests.cloud_service.redetection.parts import weights_in
from tests.cloud_service.running import RunningCloud, running_cloud

START = datetime.fromtimestamp(START_US / 1e6, UTC)
HOUR = timedelta(hours=1)
_T = TypeVar("_T")


async def until(ask: Callable[[], Awaitable[_T]], good: Callable[[_T], bool]) -> _T:
    end = time.monotonic() + 60
    while not good(found := await ask()):
        assert time.monotonic() < end, found
        await asyncio.sleep(0.05)
    return found


async def fill(cloud: RunningCloud, bundle: Bundle, coded: list[CodedFrame], *cameras: str) -> None:
    """Some seconds of cameras, in closed segments."""
    for camera in cameras:
        await cloud.deliver(coded_header(bundle, camera), coded_records(coded, 30))


async def test_both_clients_are_told_what_takes_the_disk_and_what_would_go(
    loaded: Bundle, coded: list[CodedFrame], tmp_path: Path
) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await fill(cloud, loaded, coded, "gate", "yard")
        async with AsyncCloudClient(f"127.0.0.1:{cloud.app.port}") as client:
            await client.add_hold(START, START + timedelta(seconds=1), owner="anna", reason="theft", cameras=["gate"])
            storage = await until(
                client.storage, lambda found: found.last_success is not None and "yard" in found.cameras
            )
            assert sum(storage.shares.values()) == storage.disk_bytes
            assert storage.cameras["gate"][0].tier == "records"
            assert (storage.clock_trusted, storage.blocked, storage.waiting, storage.overdue_bytes) == (
                True, False, False, {},
            )  # fmt: skip
            assert storage.rules["total"]["max_bytes"] is None
            assert 0 < storage.hold_limit_bytes <= storage.disk_bytes / 2
            plan = await client.plan_retention(["total.max_bytes=0", "records.min_age_seconds=0"])
            assert {each.camera for each in plan.deletions} == {"gate", "yard"}
            assert {each.reason for each in plan.deletions} == {"total_bytes"}
            with pytest.raises(ConfigError, match=r"retention\.video\.age: unknown setting"):
                await client.plan_retention(["video.age=3"])

        def use() -> None:
            with CloudClient(f"127.0.0.1:{cloud.app.port}") as other:
                assert other.plan_retention().deletions == ()
                assert other.storage().cameras == storage.cameras

        await asyncio.to_thread(use)


async def test_both_clients_have_cameras_verified(loaded: Bundle, coded: list[CodedFrame], tmp_path: Path) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await fill(cloud, loaded, coded, "gate")
        address = f"127.0.0.1:{cloud.app.port}"
        async with AsyncCloudClient(address) as client:
            started = await client.verify(["gate"], by="anna", deep=True, end=START + HOUR)
            assert (started.by, started.deep, started.start, started.end) == ("anna", True, None, START + HOUR)
            (done,) = await until(client.verifications, lambda found: not found[0].is_open)
            assert (done.id, done.state, done.holds) == (started.id, "done", True)
            assert [report.camera for report in done.reports] == ["gate"]
            for cameras, told, said in (
                ([], {}, "name 1 to 1000 cameras"),
                (["../gate"], {}, "camera"),
                (["gate"], {"by": " "}, "'by' is a text"),
                (["gate"], {"witnesses": ["no head"]}, "line 1 of the witnessed heads"),
                (["gate"], {"start": START + HOUR, "end": START}, "'from' is behind 'to'"),
            ):
                with pytest.raises(ConfigError, match=said):
                    await client.verify(cameras, **{"by": "anna", **told})
            with pytest.raises(NotFoundError, match="no camera 'cellar'"):
                await client.verify(["cellar"], by="anna")

        def use() -> None:
            with CloudClient(address) as other:
                names = [other.verify(["gate"], by="bert").id for _ in range(3)]
                assert other.cancel_verification(names[-1]).state == "cancelled", "two are before it"
                assert [each.id for each in other.verifications()] == [*reversed(names), done.id]
                with pytest.raises(NotFoundError):
                    other.cancel_verification("v-none")
                with pytest.raises(ConfigError, match="no time zone"):
                    other.verify(["gate"], by="bert", start=datetime(2026, 1, 1))

        await asyncio.to_thread(use)


async def test_both_clients_have_the_past_looked_at_again_by_weights_that_are_offered(
    loaded: Bundle, coded: list[CodedFrame], tmp_path: Path
) -> None:
    (tmp_path / "weights").mkdir()
    weights_in(tmp_path / "weights")
    (tmp_path / "weights" / "readme.txt").write_text("no weights")
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await fill(cloud, loaded, coded, "gate", "yard")
        address = f"127.0.0.1:{cloud.app.port}"
        async with AsyncCloudClient(address) as client:
            (model,) = await client.weights()
            assert model.startswith("cat@")
            job = await client.redetect(["gate"], model, start=START, end=START + HOUR)
            assert (job.cameras, job.model, job.start, job.end) == (("gate",), model, START, START + HOUR)
            (done,) = await until(client.redetections, lambda found: not found[0].is_open)
            assert (done.id, done.state, done.done) == (job.id, "done", job.segments)
            for told, said in (
                ({"model": "/etc/passwd"}, "no weights"),
                ({"model": ""}, "no weights"),
            ):
                with pytest.raises(NotFoundError, match=said):
                    await client.redetect(["gate"], told["model"])
            with pytest.raises(ConfigError, match="no records of a camera 'cellar'"):
                await client.redetect(["cellar"], model)
            with pytest.raises(ConfigError, match="'from' is not before 'to'"):
                await client.redetect(["gate"], model, start=START, end=START)
            with pytest.raises(ConfigError, match="'every' is 1000001"):
                await client.redetect(["gate"], model, every=1_000_001)
            with pytest.raises(ConfigError, match="nothing is to be done"):
                await client.redetect(["gate"], model, start=START + HOUR)

        def use() -> None:
            with CloudClient(address) as other:
                with pytest.raises(ConfigError, match="is done already"):
                    other.change_redetection(job.id, "pause")
                with pytest.raises(NotFoundError):
                    other.change_redetection(99, "cancel")
                with pytest.raises(ConfigError, match="no change 'stop'"):
                    other.change_redetection(job.id, "stop")

        await asyncio.to_thread(use)


async def test_a_certificate_is_told_of_its_cameras_alone(
    loaded: Bundle, coded: list[CodedFrame], tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path / "certs")
    server = certificates.server()
    flags = {name: str(getattr(server, name)) for name in ("certificate", "key", "authority")}
    (tmp_path / "data" / "weights").mkdir(parents=True)
    weights_in(tmp_path / "data" / "weights")
    as_edge = certificates.edge("edge-north", "gate", "yard")
    async with running_cloud(tmp_path / "data", loaded, None, tls=as_edge, **{"ingest.tls": flags}) as cloud:
        await fill(cloud, loaded, coded, "gate", "yard")

        def client(tls: Any) -> AsyncCloudClient:
            return AsyncCloudClient(
                f"127.0.0.1:{cloud.app.port}", tls=Tls(tls.authority, tls.certificate, tls.key), timeout=20
            )

        async with client(certificates.reader("viewer")) as reader, client(certificates.edge("gates", "gate")) as gate:
            await until(reader.storage, lambda found: set(found.cameras) == {"gate", "yard"})
            assert set((await gate.storage()).cameras) == {"gate"}
            with pytest.raises(PermissionDeniedError):
                await gate.plan_retention()
            with pytest.raises(PermissionDeniedError):
                await gate.verify(["gate", "yard"], by="north")
            both = await reader.verify(["gate", "yard"], by="anna")
            assert both.by == "anna (certificate of viewer)"
            await until(reader.verifications, lambda found: not found[0].is_open)
            (seen,) = await gate.verifications()
            assert (seen.cameras, [report.camera for report in seen.reports]) == (("gate",), ["gate"])
            with pytest.raises(NotFoundError):
                await gate.cancel_verification(both.id)
            (model,) = await gate.weights()
            with pytest.raises(PermissionDeniedError):
                await gate.redetect(["yard"], model)
            job = await reader.redetect(["yard"], model)
            assert await gate.redetections() == []
            with pytest.raises(NotFoundError):
                await gate.change_redetection(job.id, "cancel")


async def test_what_no_client_would_send_is_refused_by_the_services(loaded: Bundle, tmp_path: Path) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        storage, verification = StorageServiceStub(cloud.channel), VerificationServiceStub(cloud.channel)
        redetection = RedetectionServiceStub(cloud.channel)
        bad_time = verification_pb2.StartVerificationRequest(cameras=["gate"], by="x")
        bad_time.to.seconds = 1 << 62
        many = [f"c{number}" for number in range(1001)]
        calls = (
            storage.PlanRetention(storage_pb2.PlanRetentionRequest(changes=["a=1"] * 65)),
            verification.StartVerification(bad_time),
            verification.StartVerification(verification_pb2.StartVerificationRequest(cameras=many, by="x")),
            redetection.AddRedetection(redetection_pb2.AddRedetectionRequest(cameras=many, model="x")),
            redetection.AddRedetection(redetection_pb2.AddRedetectionRequest(cameras=["GATE"], model="x")),
        )
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT, raised.value.details()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await redetection.ChangeRedetection(redetection_pb2.ChangeRedetectionRequest(id=1 << 63))
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
