"""Both services behind mutual TLS: certificates are renewed and revoked under way, and no secret gets into a log."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import grpc
import pytest
from cryptography import x509

from edge_service.frame_api.tokens import add_token
from icm.rpc.tls import MutualTlsSettings
from icm.testing.processes import Ports
from icm.v1 import camera_pb2, camera_pb2_grpc, frame_pb2
from tests.certificates import Certificates
from tests.system.machine import Machine, file_camera, stored, submitted_camera, until

PASSWORD = "pa55-of-the-camera"


def paths(tls: MutualTlsSettings, *names: str) -> dict[str, str]:
    return {name: str(getattr(tls, name)) for name in names}


def cloud_settings(machine: Machine, certificates: Certificates) -> dict[str, Any]:
    settings = machine.cloud_settings() | {"log_level": "debug"}
    files = paths(certificates.server(), "certificate", "key", "authority")
    settings["ingest"]["tls"] = files | {"revoked": str(certificates.revoked)}
    return settings


def edge_settings(machine: Machine, certificates: Certificates, port: int, tokens: Path, clip: Path) -> dict[str, Any]:
    dead = {"name": "dead", "source": {"kind": "rtsp", "url": f"rtsp://admin:{PASSWORD}@127.0.0.1:1/live"}}
    cameras = [file_camera("gate", clip, pace="real_time", loop=True), submitted_camera("door"), dead]
    settings = machine.edge_settings(port, *cameras) | {"log_level": "debug"}
    settings["cloud"]["tls"] = paths(
        certificates.edge("north", "gate", "door", "dead"), "certificate", "key", "authority"
    )
    host = certificates.server("north-api", ["localhost"])
    settings["frame_api"] |= {"tls": paths(host, "certificate", "key"), "tokens": str(tokens)}
    return settings


async def test_a_certificate_is_renewed_and_the_old_one_revoked_and_no_record_is_lost_and_no_secret_logged(
    machine: Machine, small_clip: Path, tmp_path: Path
) -> None:
    certificates, tokens = Certificates(tmp_path / "certs"), tmp_path / "tokens.yaml"
    token = add_token(tokens, "door-app", ["door"])
    cloud = machine.start("icm-cloud", cloud_settings(machine, certificates))
    cloud_ports = await cloud.listening()
    edge = machine.start("icm-edge", edge_settings(machine, certificates, cloud_ports.grpc, tokens, small_clip))
    edge_ports = await edge.listening()

    def arrived(more: int) -> Any:
        goal = len(of_gate(machine)) + more

        async def enough() -> bool:
            return len(of_gate(machine)) >= goal

        return enough

    await until(arrived(5), edge, cloud)
    old = certificates.folder / "for/north/tls.crt"
    serial = x509.load_pem_x509_certificate(old.read_bytes()).serial_number
    certificates.edge("north", "gate", "door", "dead")
    certificates.authority.revoke(f"{serial:x}")

    async def cut_off() -> bool:
        return "was revoked" in cloud.log

    await until(cut_off, edge, cloud)
    await until(arrived(20), edge, cloud)
    root = grpc.ssl_channel_credentials((certificates.folder / "ca.crt").read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{edge_ports.grpc}", root) as channel:
        stub = camera_pb2_grpc.CameraServiceStub(channel)
        image = frame_pb2.RawImage(width=32, height=32, rgb=bytes(3 * 32 * 32))
        request = camera_pb2.SubmitFrameRequest(camera="door", frame=frame_pb2.Frame(raw=image))
        with pytest.raises(grpc.aio.AioRpcError) as nameless:
            await stub.SubmitFrame(request)
        assert nameless.value.code() is grpc.StatusCode.UNAUTHENTICATED
        answer = await stub.SubmitFrame(request, metadata=(("authorization", f"Bearer {token}"),))
        assert answer.frame.sequence == 1
    health = await asyncio.to_thread(ailing, edge_ports)
    assert "camera dead: no picture from rtsp://127.0.0.1:1/***: " in health
    assert [await edge.stop(), await cloud.stop()] == [0, 0]

    sequences = of_gate(machine)
    assert sequences == list(range(1, len(sequences) + 1))
    secrets = {PASSWORD, token}
    secrets |= {line for key in certificates.folder.rglob("*.key") for line in key.read_text().splitlines()[1:-1]}
    told = edge.log + cloud.log + health
    assert "rtsp://127.0.0.1:1/***" in edge.log
    assert not [secret for secret in secrets if secret in told]


def ailing(ports: Ports) -> str:
    """What /healthz says of a service that has a problem."""
    with pytest.raises(HTTPError) as caught:
        urlopen(f"http://127.0.0.1:{ports.metrics}/healthz", timeout=10)
    with caught.value as answer:
        return answer.read().decode()


def of_gate(machine: Machine) -> list[int]:
    """Sequences of the camera's records on the cloud's disk."""
    return [sequence for camera, _, sequence in stored(machine.folder) if camera == "gate"]
