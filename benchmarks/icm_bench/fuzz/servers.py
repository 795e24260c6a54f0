"""What is fuzzed of the running services: the ingest stream, the calls of both services, and their metrics listeners.

Both services run as processes of their own, as a user starts them. Each input must be answered with a status of the
project's own or of gRPC itself, and afterwards both must still live and be healthy.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import message as protobuf
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2, health_pb2_grpc

from icm.errors import IcmError
from icm.rpc.status import DOMAIN
from icm.testing.processes import Ports, Service
from icm.testing.scraping import DIRECT
from icm.v1 import archive_pb2, camera_pb2
from icm.v1.ingest_pb2 import StreamRecordsResponse
from icm_bench.fuzz.script import unpack

ANSWER_SECONDS = 5.0
"""After which a call that should have been answered hangs."""
_ANY_PORT = "127.0.0.1:0"
_OF_GRPC = {
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNIMPLEMENTED,
}
"""Codes that gRPC gives by itself. A service that let an exception through answers UNKNOWN."""
_TRACEBACK = b"Traceback"
_READ, _CUT_AFTER_ONE, _CUT_AT_ONCE = range(3)

Stream = Callable[..., Any]


@dataclass(frozen=True)
class Running:
    """Both services, where they listen, and how many bytes of their logs were looked at."""

    services: dict[str, Service]
    ports: dict[str, Ports]
    seen: Counter[str] = field(default_factory=Counter)

    def resident_mb(self) -> dict[str, float]:
        """Memory of each, in megabytes."""
        found = {}
        for name, service in self.services.items():
            status = Path(f"/proc/{service.process.pid}/status").read_text()
            found[name] = int(status.partition("VmRSS:")[2].split()[0]) / 1e3
        return found

    def sound(self) -> bool:
        """Whether both do as they should still."""
        try:
            self.check()
        except IcmError:
            return False
        return True

    def check(self) -> None:
        """Checks that all services are there, are healthy, and let no exception through.

        Raises:
            IcmError: one is gone, is not healthy, or let an exception through.
        """
        for name, service in self.services.items():
            with service.log_path.open("rb") as log:
                log.seek(self.seen[name])
                news = log.read()
            if _TRACEBACK in news:
                raise IcmError(f"{name} let an exception through. {service.tail(40)}")
            if service.process.poll() is not None:
                raise IcmError(f"{name} ended. {service.tail()}")
            # The word may be half written.
            self.seen[name] += max(0, len(news) - len(_TRACEBACK))


@contextmanager
def running(bundle: Path, folder: Path) -> Iterator[Running]:
    """A cloud without a detector, and an edge with a camera that takes pictures; both end with the block.

    Raises:
        IcmError: one does not start.
    """
    cloud_settings = {
        "bundle": str(bundle.resolve()),
        "threads": 1,
        "ingest": {"address": _ANY_PORT},
        "metrics": {"address": _ANY_PORT},
        "store": {"folder": str(folder / "cloud")},
        "detector": {"kind": "none"},
    }
    with ExitStack() as stack:
        cloud = Service("icm-cloud", cloud_settings, folder)
        stack.callback(cloud.kill)
        cloud_ports = _listening(cloud)
        edge_settings = {
            "bundle": str(bundle.resolve()),
            "threads": 1,
            "cloud": {"address": f"127.0.0.1:{cloud_ports.grpc}"},
            "frame_api": {"address": _ANY_PORT},
            "metrics": {"address": _ANY_PORT},
            "spool": {"folder": str(folder / "edge")},
            "cameras": [{"name": "drone", "source": {"kind": "submitted"}}],
        }
        edge = Service("icm-edge", edge_settings, folder)
        stack.callback(edge.kill)
        yield Running({"cloud": cloud, "edge": edge}, {"cloud": cloud_ports, "edge": _listening(edge)})


def _listening(service: Service) -> Ports:
    return asyncio.run(service.listening())


class ServerTargets:
    """Scripts to the services, by the names of their folders in the corpus."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._channels = {
            name: grpc.insecure_channel(f"127.0.0.1:{ports.grpc}", options=[("grpc.enable_http_proxy", 0)])
            for name, ports in running.ports.items()
        }
        cloud, edge = self._channels["cloud"], self._channels["edge"]
        self._ingest: Stream = cloud.stream_stream("/icm.v1.IngestService/StreamRecords", None, None)
        self._watch: Stream = cloud.unary_stream("/icm.v1.ArchiveService/WatchDetections", None, None)
        camera, archive = "/icm.v1.CameraService/", "/icm.v1.ArchiveService/"
        self._calls: list[tuple[Stream, type[protobuf.Message], bool]] = [
            (edge.unary_stream(f"{camera}SubmitFrame", None, None), camera_pb2.SubmitFrameResponse, False),
            (edge.stream_stream(f"{camera}SubmitFrames", None, None), camera_pb2.SubmitFramesResponse, True),
            (edge.unary_stream(f"{camera}GetCamera", None, None), camera_pb2.GetCameraResponse, False),
            (edge.unary_stream(f"{camera}SetRateControl", None, None), camera_pb2.SetRateControlResponse, False),
            (cloud.unary_stream(f"{archive}ListCameras", None, None), archive_pb2.ListCamerasResponse, False),
            (cloud.unary_stream(f"{archive}ListSegments", None, None), archive_pb2.ListSegmentsResponse, False),
            (cloud.unary_stream(f"{archive}GetFrame", None, None), archive_pb2.GetFrameResponse, False),
            (cloud.unary_stream(f"{archive}GetDetections", None, None), archive_pb2.GetDetectionsResponse, False),
        ]

    def targets(self) -> dict[str, Callable[[bytes], None]]:
        """What is fuzzed."""
        return {"ingest": self.ingest, "calls": self.calls, "watch": self.watch, "http": self.http}

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def ingest(self, script: bytes) -> None:
        """Messages of one ingest stream, read to its end, or cut off in the middle."""
        behaviour, messages = unpack(script)
        self._talk(self._ingest, StreamRecordsResponse, behaviour % 3, messages)
        self._check("cloud")

    def calls(self, script: bytes) -> None:
        """A call of either service, which the first byte chooses."""
        behaviour, messages = unpack(script)
        method, answer, streamed = self._calls[behaviour % len(self._calls)]
        if streamed:
            self._talk(method, answer, behaviour // len(self._calls) % 3, messages)
        else:
            for message in messages[:1]:
                self._read(method(message, timeout=ANSWER_SECONDS), answer, _READ)
        for name in self._channels:
            self._check(name)

    def watch(self, script: bytes) -> None:
        """Watchers of detections, one for each message and all at once, who leave at once or when their call stands."""
        behaviour, messages = unpack(script)
        calls = [self._watch(message, timeout=ANSWER_SECONDS) for message in messages]
        for call in calls:
            if behaviour % 2:
                call.initial_metadata()
            self._read(call, archive_pb2.WatchDetectionsResponse, _CUT_AT_ONCE)
        self._check("cloud")

    def http(self, data: bytes) -> None:
        """Bytes to the metrics listeners of both, which must answer somebody else meanwhile."""
        for ports in self._running.ports.values():
            with socket.create_connection(("127.0.0.1", ports.metrics), ANSWER_SECONDS) as connection:
                connection.sendall(data)
                with DIRECT.open(f"http://127.0.0.1:{ports.metrics}/healthz", timeout=ANSWER_SECONDS) as ok:
                    if ok.read() != b"ok\n":
                        raise IcmError("healthz does not say ok")
        self._running.check()

    def _talk(self, method: Stream, answer: type[protobuf.Message], behaviour: int, messages: list[bytes]) -> None:
        over = threading.Event()
        # Who says nothing is owed no answer for now.
        behaviour = behaviour if messages or behaviour != _CUT_AFTER_ONE else _CUT_AT_ONCE

        def requests() -> Iterator[bytes]:
            yield from messages
            if behaviour == _CUT_AFTER_ONE:
                over.wait(ANSWER_SECONDS)  # neither ended nor going on

        try:
            self._read(method(requests(), timeout=ANSWER_SECONDS), answer, behaviour)
        finally:
            over.set()

    def _read(self, call: Any, answer: type[protobuf.Message], behaviour: int) -> None:
        try:
            if behaviour == _CUT_AT_ONCE:
                call.cancel()
            for data in call:
                answer.FromString(data)
                if behaviour == _CUT_AFTER_ONE:
                    call.cancel()
        except grpc.RpcError as error:
            _check_status(error)

    def _check(self, name: str) -> None:
        self._running.check()
        answer = health_pb2_grpc.HealthStub(self._channels[name]).Check(  # type: ignore[attr-defined]
            health_pb2.HealthCheckRequest(), timeout=ANSWER_SECONDS
        )
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise IcmError(f"{name} is not serving any more")


def _check_status(error: Any) -> None:
    """Checks that a caller could act on a status.

    Raises:
        IcmError: this is no status that a caller could act on.
    """
    if error.code() in _OF_GRPC:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise IcmError(f"no answer within {ANSWER_SECONDS:g} s")
        return
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            info = error_details_pb2.ErrorInfo()
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info) and info.domain == DOMAIN:
                    return
    raise IcmError(f"answers {error.code().name}: {error.details()}")
