"""Holds over mutual TLS: a certificate says whose hold it is, and who may let go of another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from cloud_service.access.certificates.grants import granting
from icm.codec.bundle.loading import Bundle
from icm.rpc.status import reason_of
from icm.rpc.tls import MutualTlsSettings
from icm.v1 import hold_pb2 as pb
from icm.v1.hold_pb2_grpc import HoldServiceStub
from tests.certificates import Certificates, files_in
from tests.cloud_service.running import RunningCloud, app_in


def hold(*cameras: str) -> pb.AddHoldRequest:
    request = pb.AddHoldRequest(hold=pb.Hold(cameras=cameras, owner="anna", reason="theft", added_by="somebody else"))
    getattr(request.hold, "from").FromSeconds(1_790_000_000)
    request.hold.to.FromSeconds(1_790_003_600)
    return request


async def refusal(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return f"{reason_of(raised.value)}: {raised.value.details()}"


async def test_a_certificate_holds_sees_and_releases_what_it_may_and_nothing_else(
    tmp_path: Path, loaded: Bundle
) -> None:
    certificates = Certificates(tmp_path / "certs")
    server = certificates.server()
    flags = {name: str(getattr(server, name)) for name in ("certificate", "key", "authority")}
    app = app_in(tmp_path / "data", loaded, None, **{"ingest.tls": flags})
    await app.start()
    opened: list[RunningCloud] = []

    def called_by(tls: MutualTlsSettings) -> HoldServiceStub:
        opened.append(RunningCloud(app, tls))
        return HoldServiceStub(opened[-1].channel)

    try:
        reader = called_by(certificates.reader("viewer"))
        other = called_by(certificates.reader("intern"))
        edge = called_by(certificates.edge("edge-north", "gate"))
        judge = called_by(files_in(certificates.authority.issue(granting("judge", (), True, True), ())))
        blind = called_by(files_in(certificates.authority.issue(granting("blind", (), False, True), ())))

        both = (await reader.AddHold(hold("gate", "yard"))).hold
        assert both.added_by == "viewer"
        every, mine = (await reader.AddHold(hold())).hold, (await edge.AddHold(hold("gate"))).hold
        assert "PERMISSION_DENIED" in await refusal(edge.AddHold(hold("gate", "yard")))
        assert "PERMISSION_DENIED" in await refusal(edge.AddHold(hold()))
        assert [each.id for each in (await edge.ListHolds(pb.ListHoldsRequest())).holds] == [mine.id]
        assert [each.id for each in (await reader.ListHolds(pb.ListHoldsRequest())).holds] == [
            both.id,
            every.id,
            mine.id,
        ]

        unseen = await refusal(edge.ReleaseHold(pb.ReleaseHoldRequest(id=both.id, by="north")))
        assert "there is no hold" in unseen
        assert unseen == await refusal(blind.ReleaseHold(pb.ReleaseHoldRequest(id=both.id, by="north")))
        anothers = await refusal(other.ReleaseHold(pb.ReleaseHoldRequest(id=both.id, by="anna")))
        assert "intern may not release a hold that viewer added" in anothers
        assert len((await reader.ListHolds(pb.ListHoldsRequest())).holds) == 3

        assert (await reader.ReleaseHold(pb.ReleaseHoldRequest(id=both.id, by="anna"))).hold.released_by == "anna"
        assert (await judge.ReleaseHold(pb.ReleaseHoldRequest(id=mine.id, by="judge"))).hold.added_by == "edge-north"
        assert [each.id for each in (await reader.ListHolds(pb.ListHoldsRequest())).holds] == [every.id]
    finally:
        for each in opened:
            await each.channel.close()
        await app.stop()


async def test_a_hold_from_before_certificates_is_released_by_right_only(tmp_path: Path, loaded: Bundle) -> None:
    app = app_in(tmp_path / "data", loaded, None)
    await app.start()
    plain = RunningCloud(app)
    added = (await HoldServiceStub(plain.channel).AddHold(hold("gate"))).hold
    assert added.added_by == ""
    await plain.channel.close()
    await app.stop()
    certificates = Certificates(tmp_path / "certs")
    server = certificates.server()
    flags = {name: str(getattr(server, name)) for name in ("certificate", "key", "authority")}
    app = app_in(tmp_path / "data", loaded, None, **{"ingest.tls": flags})
    await app.start()
    reader = RunningCloud(app, certificates.reader())
    refused = await refusal(HoldServiceStub(reader.channel).ReleaseHold(pb.ReleaseHoldRequest(id=added.id, by="anna")))
    assert "somebody without a certificate added" in refused
    await reader.channel.close()
    await app.stop()
