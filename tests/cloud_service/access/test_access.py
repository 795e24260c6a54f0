"""A whole cloud behind mutual TLS: a certificate lets its holder do what it names, for as long as it counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from cloud_service.access.access import CertificateAccess
from cloud_service.access.certificates.revocation import RevocationLists
from cloud_service.cli import main
from cloud_service.commands import CONFIG_STATUS
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from icm.rpc import open_calls
from icm.rpc.channels import open_channel
from icm.rpc.servers import Server
from icm.rpc.status import reason_of
from icm.rpc.tls import MutualTlsSettings
from icm.service.clock import ManualClock, SystemClock
from icm.v1 import archive_pb2 as pb
from icm.v1 import proof_pb2, search_pb2
from icm.v1.archive_pb2_grpc import (
    ArchiveServiceServicer,
    ArchiveServiceStub,
    add_ArchiveServiceServicer_to_server,
)
from icm.v1.frame_pb2 import FrameDetections, FrameRef
from icm.v1.proof_pb2_grpc import ProofServiceStub
from icm.v1.search_pb2_grpc import SearchServiceStub
from tests.certificates import Certificates
from tests.cloud_service.parts import EPOCH, START_US, BrightnessDetector, coded_header, coded_records
from tests.cloud_service.running import RunningCloud, app_in
from tests.cloud_service.uplink import Uplink

FOLDED_SECONDS = 30.0


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certs")


def tls_flags(certificates: Certificates) -> dict[str, Any]:
    server = certificates.server()
    return {
        "certificate": str(server.certificate),
        "key": str(server.key),
        "authority": str(server.authority),
        "revoked": str(certificates.revoked),
    }


class SecureCloud:
    """A running cloud, and callers of it by their certificates."""

    def __init__(self, cloud: RunningCloud) -> None:
        self._app = cloud.app
        self.callers = [cloud]

    def called_by(self, tls: MutualTlsSettings) -> RunningCloud:
        self.callers.append(RunningCloud(self._app, tls))
        return self.callers[-1]


@pytest.fixture
async def cloud(tmp_path: Path, loaded: Bundle, certificates: Certificates) -> AsyncIterator[SecureCloud]:
    app = app_in(tmp_path / "data", loaded, BrightnessDetector(), **{"ingest.tls": tls_flags(certificates)})
    cloud = SecureCloud(RunningCloud(app))
    await app.start()
    yield cloud
    for caller in cloud.callers:
        await caller.channel.close()
    await app.stop()


async def failure(call: Any) -> tuple[grpc.StatusCode, str | None, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), reason_of(caught.value), caught.value.details() or ""


async def test_an_edge_delivers_the_cameras_that_its_certificate_names_and_no_other(
    cloud: SecureCloud, certificates: Certificates, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    edge = cloud.called_by(certificates.edge("north", "gate", "yard"))
    for camera in ("gate", "yard"):
        await edge.deliver(coded_header(loaded, camera), coded_records(coded, 2))
    code, reason, text = await failure(Uplink(edge.channel).hello(coded_header(loaded, "porch")))
    assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert text == (
        "north may not deliver camera 'porch': its certificate names gate, yard; issue one that names this camera too"
    )


async def test_a_reader_delivers_nothing(cloud: SecureCloud, certificates: Certificates, loaded: Bundle) -> None:
    reader = cloud.called_by(certificates.reader())
    code, _, text = await failure(Uplink(reader.channel).hello(coded_header(loaded, "gate")))
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert "its certificate names no camera" in text
    # Nor is anything that it sends looked at.
    assert (await Uplink(reader.channel).failure()).code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_reader_sees_every_camera_and_an_edge_its_own(
    cloud: SecureCloud, certificates: Certificates, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    north, south = (cloud.called_by(certificates.edge(*names)) for names in (("north", "gate"), ("south", "yard")))
    await north.deliver(coded_header(loaded, "gate"), coded_records(coded, 2))
    await south.deliver(coded_header(loaded, "yard"), coded_records(coded, 2))
    reader = cloud.called_by(certificates.reader())
    seen = {}
    for name, caller in (("north", north), ("reader", reader)):
        cameras = (await caller.archive.ListCameras(pb.ListCamerasRequest())).cameras
        seen[name] = [camera.name for camera in cameras]
    assert seen == {"north": ["gate"], "reader": ["gate", "yard"]}
    yard = FrameRef(camera="yard", epoch=EPOCH, sequence=1)
    refused: list[tuple[str, Message]] = [
        ("ListSegments", pb.ListSegmentsRequest(camera="yard")),
        ("GetFrame", pb.GetFrameRequest(frame=yard)),
        ("GetDetections", pb.GetDetectionsRequest(frame=yard)),
    ]
    for method, request in refused:
        code, _, text = await failure(getattr(north.archive, method)(request))
        assert (method, code) == (method, grpc.StatusCode.PERMISSION_DENIED)
        assert "north may not read camera 'yard'" in text
        await getattr(reader.archive, method)(request)
    heads = proof_pb2.GetHeadsRequest(camera="yard")
    assert (await failure(ProofServiceStub(north.channel).GetHeads(heads)))[0] is grpc.StatusCode.PERMISSION_DENIED
    await ProofServiceStub(reader.channel).GetHeads(heads)
    for camera in ("", "yard"):
        watching = north.archive.WatchDetections(pb.WatchDetectionsRequest(camera=camera))
        assert (await failure(watching.read()))[0] is grpc.StatusCode.PERMISSION_DENIED


async def test_a_search_finds_counts_and_draws_only_the_cameras_that_a_certificate_names(
    cloud: SecureCloud, certificates: Certificates, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    north, south = (cloud.called_by(certificates.edge(*names)) for names in (("north", "gate"), ("south", "yard")))
    reader = cloud.called_by(certificates.reader())
    for caller, camera in ((north, "gate"), (south, "yard")):
        await caller.deliver(coded_header(loaded, camera), coded_records(coded, 25))
    searches = {name: SearchServiceStub(of.channel) for name, of in (("north", north), ("reader", reader))}
    async with asyncio.timeout(FOLDED_SECONDS):
        while True:
            found = await searches["reader"].SearchSightings(search_pb2.SearchSightingsRequest())
            if {of.camera for of in found.sightings} == {"gate", "yard"}:
                break
            await asyncio.sleep(0.1)
    own = await searches["north"].SearchSightings(search_pb2.SearchSightingsRequest())
    assert {of.camera for of in own.sightings} == {"gate"}
    assert own.count == len(own.sightings)
    assert found.count == len(found.sightings) > own.count
    whole = {
        "from": Timestamp(seconds=START_US // 1_000_000 - 60),
        "to": Timestamp(seconds=START_US // 1_000_000 + 600),
    }
    refused: list[tuple[str, Message]] = [
        ("SearchSightings", search_pb2.SearchSightingsRequest(cameras=["gate", "yard"])),
        ("GetActivity", search_pb2.GetActivityRequest(camera="yard", **whole)),
        ("ListBoxes", search_pb2.ListBoxesRequest(camera="yard", **whole)),
    ]
    for method, request in refused:
        code, _, said = await failure(getattr(searches["north"], method)(request))
        assert (method, code) == (method, grpc.StatusCode.PERMISSION_DENIED)
        assert "north may not read camera 'yard'" in said
        await getattr(searches["reader"], method)(request)
    activity = await searches["north"].GetActivity(search_pb2.GetActivityRequest(camera="gate", **whole))
    assert sum(one.boxes for of in activity.activities for one in of.classes) > 0


async def test_without_a_certificate_nothing_can_be_called(cloud: SecureCloud) -> None:
    (plain,) = cloud.callers
    code, _, _ = await failure(plain.archive.ListCameras(pb.ListCamerasRequest(), timeout=20))
    assert code is grpc.StatusCode.UNAVAILABLE


async def test_a_revoked_certificate_ends_its_streams_at_their_next_message_and_opens_no_more(
    cloud: SecureCloud, certificates: Certificates, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    edge = cloud.called_by(certificates.edge("north", "gate"))
    header, records = coded_header(loaded, "gate"), coded_records(coded, 3)
    uplink = Uplink(edge.channel)
    await uplink.hello(header)
    await uplink.send(header, records[:1], header)
    await uplink.until(1)
    certificates.authority.revoke("north")
    await uplink.send(None, records[1:2], header)
    ended = await uplink.failure()
    assert (ended.code(), reason_of(ended)) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert "of north was revoked" in (ended.details() or "")
    assert (await failure(Uplink(edge.channel).hello(header)))[0] is grpc.StatusCode.UNAUTHENTICATED
    code, _, _ = await failure(edge.archive.ListCameras(pb.ListCamerasRequest()))
    assert code is grpc.StatusCode.UNAUTHENTICATED
    # A new certificate for the same edge goes on where the old one was cut off.
    renewed = cloud.called_by(certificates.edge("north", "gate"))
    assert (await Uplink(renewed.channel).hello(header)).resume_after == 1


async def test_a_watcher_is_told_nothing_more_once_its_certificate_is_revoked(
    cloud: SecureCloud, certificates: Certificates, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    edge, reader = cloud.called_by(certificates.edge("north", "gate")), cloud.called_by(certificates.reader())
    watching = reader.archive.WatchDetections(pb.WatchDetectionsRequest())
    await watching.initial_metadata()
    header, records = coded_header(loaded, "gate"), coded_records(coded, 2)
    await edge.deliver(header, records[:1])
    answer = await watching.read()
    assert isinstance(answer, pb.WatchDetectionsResponse)
    certificates.authority.revoke("viewer")
    await edge.deliver(header, records[1:])
    assert (await failure(watching.read()))[0] is grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open calls are looked at all the time."""
    monkeypatch.setattr(open_calls, "LOOK_SECONDS", 0.01)


async def test_a_revoked_stream_ends_though_nothing_is_said_over_it_and_another_edge_takes_the_camera_over(
    cloud: SecureCloud, certificates: Certificates, loaded: Bundle, coded: list[CodedFrame], soon: None
) -> None:
    thief, fresh = (cloud.called_by(certificates.edge(name, "gate")) for name in ("thief", "fresh"))
    silent = Uplink(thief.channel)
    await silent.hello(coded_header(loaded, "gate"))
    taken, _, _ = await failure(Uplink(fresh.channel).hello(coded_header(loaded, "gate", EPOCH + 1)))
    assert taken is grpc.StatusCode.FAILED_PRECONDITION
    certificates.authority.revoke("thief")
    ended = await silent.failure()
    assert ended.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "of thief was revoked" in (ended.details() or "")
    await fresh.deliver(coded_header(loaded, "gate", EPOCH + 1), coded_records(coded, 1))


async def test_a_stream_ends_when_the_authority_of_its_certificate_is_taken_out(
    cloud: SecureCloud, certificates: Certificates, loaded: Bundle, tmp_path: Path, soon: None
) -> None:
    trusted = certificates.server().authority
    old, newer = trusted.read_text(), Certificates(tmp_path / "newer")
    trusted.write_text(old + (newer.folder / "ca.crt").read_text())
    before = Uplink(cloud.called_by(certificates.edge("north", "gate")).channel)
    await before.hello(coded_header(loaded, "gate"))
    renewed = newer.edge("south", "yard").model_copy(update={"authority": certificates.folder / "ca.crt"})
    after = Uplink(cloud.called_by(renewed).channel)
    await after.hello(coded_header(loaded, "yard"))
    trusted.write_text((newer.folder / "ca.crt").read_text())
    ended = await before.failure()
    assert ended.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "of north is of an authority that counts no more" in (ended.details() or "")
    await after.send(coded_header(loaded, "yard"), [], coded_header(loaded, "yard"))
    await after.close()


class Endless(ArchiveServiceServicer):
    """Never finds detections, and tells watchers more than they read."""

    def __init__(self) -> None:
        self.asked, self.ended = asyncio.Event(), asyncio.Event()

    async def GetDetections(self, request: Any, context: Any) -> pb.GetDetectionsResponse:
        self.asked.set()
        await asyncio.Event().wait()
        return pb.GetDetectionsResponse()

    async def WatchDetections(self, request: Any, context: Any) -> AsyncIterator[pb.WatchDetectionsResponse]:
        try:
            while True:
                yield pb.WatchDetectionsResponse(detections=FrameDetections(model="x" * 100_000))
        finally:
            self.ended.set()


async def all_of(call: Any) -> None:
    """Reads until the call ends."""
    async for _ in call:
        pass


async def test_a_call_that_waits_for_its_answer_and_a_watcher_that_does_not_read_end_when_they_are_revoked(
    certificates: Certificates, soon: None
) -> None:
    tls, endless = certificates.server(), Endless()
    access = CertificateAccess(RevocationLists(certificates.revoked, tls.authority), SystemClock())
    server = Server("127.0.0.1:0", False, tls, (access,))
    add_ArchiveServiceServicer_to_server(endless, server.grpc)
    await server.start()
    async with open_channel(f"127.0.0.1:{server.port}", False, certificates.reader()) as channel:
        stub = ArchiveServiceStub(channel)
        watching = stub.WatchDetections(pb.WatchDetectionsRequest())
        await watching.initial_metadata()
        asking = asyncio.ensure_future(stub.GetDetections(pb.GetDetectionsRequest()))
        await endless.asked.wait()
        certificates.authority.revoke("viewer")
        await endless.ended.wait()
        # Told so once it reads again.
        for call in (asking, all_of(watching)):
            assert (await failure(call))[0] is grpc.StatusCode.UNAUTHENTICATED
    await server.stop(0)


class EmptyArchive(ArchiveServiceServicer):
    async def ListCameras(self, request: Any, context: Any) -> pb.ListCamerasResponse:
        return pb.ListCamerasResponse()

    async def WatchDetections(self, request: Any, context: Any) -> AsyncIterator[pb.WatchDetectionsResponse]:
        await context.send_initial_metadata(())
        await asyncio.Event().wait()
        yield pb.WatchDetectionsResponse()


async def test_neither_a_connection_nor_a_silent_call_outlives_its_certificate(certificates: Certificates) -> None:
    clock = ManualClock(SystemClock().now_us())
    server = Server("127.0.0.1:0", False, certificates.server(), (CertificateAccess(None, clock),))
    add_ArchiveServiceServicer_to_server(EmptyArchive(), server.grpc)
    await server.start()
    async with open_channel(f"127.0.0.1:{server.port}", False, certificates.edge("north", "gate", days=30)) as channel:
        stub = ArchiveServiceStub(channel)
        await stub.ListCameras(pb.ListCamerasRequest())
        watching = stub.WatchDetections(pb.WatchDetectionsRequest())
        await watching.initial_metadata()
        await clock.until_slept_by()
        clock.advance(31 * 86_400)
        assert (await failure(watching.read()))[0] is grpc.StatusCode.UNAUTHENTICATED
        code, _, text = await failure(stub.ListCameras(pb.ListCamerasRequest()))
    await server.stop(0)
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert "of north has run out" in text


@pytest.mark.parametrize("setting", ["certificate", "key", "authority", "revoked"])
def test_check_names_a_file_that_is_not_there(
    tmp_path: Path,
    bundle: Path,
    certificates: Certificates,
    capsys: pytest.CaptureFixture[str],
    setting: str,
) -> None:
    nowhere = str(tmp_path / "nowhere.pem")
    flags = {**tls_flags(certificates), setting: nowhere}
    arguments = [f"--set=ingest.tls.{name}={value}" for name, value in flags.items()]
    assert main(["check", f"--set=bundle={bundle}", "--set=detector.kind=none", *arguments]) == CONFIG_STATUS
    assert f"cannot read {nowhere}" in capsys.readouterr().err
