"""Both services for programs that talk to them: an edge as its command, a cloud in a thread of the test's process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_service.frame_api.tokens import add_token
from icm.client.connection import Tls
from icm.codec.bundle.loading import Bundle
from icm.testing.processes import Service
from tests.certificates import Certificates
from tests.cloud_service.parts import BrightnessDetector
from tests.cloud_service.running import running_cloud

CAMERA = "door"
"""The camera that pictures can be submitted to."""


@dataclass(frozen=True)
class Services:
    """Where they listen, and what a client needs besides.

    Attributes:
        edge, cloud: ``host:port``.
        token: of the edge's client; None where none is asked for.
        edge_tls, cloud_tls: of clients; None where plaintext is spoken.
    """

    edge: str
    cloud: str
    token: str | None = None
    edge_tls: Tls | None = None
    cloud_tls: Tls | None = None


@contextmanager
def running_services(folder: Path, bundle: Path, secured: bool = False) -> Iterator[Services]:
    """Starts both, and ends both; the detector tells bright pictures from dark ones."""
    cloud_flags: dict[str, Any] = {}
    certificates = Certificates(folder / "certs") if secured else None
    if certificates is not None:
        server = certificates.server()
        for name in ("certificate", "key", "authority"):
            cloud_flags[f"ingest.tls.{name}"] = str(getattr(server, name))
    with cloud_thread(folder / "cloud", bundle, certificates, cloud_flags) as port:
        settings: dict[str, Any] = {
            "bundle": str(bundle),
            "cloud": {"address": f"127.0.0.1:{port}"},
            "frame_api": {"address": "127.0.0.1:0"},
            "metrics": {"address": "127.0.0.1:0"},
            "spool": {"folder": str(folder / "edge")},
            "cameras": [{"name": CAMERA, "source": {"kind": "submitted"}}],
        }
        services = Services("", f"127.0.0.1:{port}")
        if certificates is not None:
            services = secure(settings, certificates, folder / "tokens.yaml", services.cloud)
        service = Service("icm-edge", settings, folder)
        try:
            ports = asyncio.run(service.listening())
            yield Services(
                f"127.0.0.1:{ports.grpc}", services.cloud, services.token, services.edge_tls, services.cloud_tls
            )
        finally:
            asyncio.run(service.stop())
            service.kill()


def secure(settings: dict[str, Any], certificates: Certificates, tokens: Path, cloud: str) -> Services:
    """Gives an edge's settings TLS and a token; what its clients, and those of the cloud, need then."""
    edge, api, reader = certificates.edge("north", CAMERA), certificates.server("north-api"), certificates.reader()
    names = ("certificate", "key", "authority")
    settings["cloud"]["tls"] = {name: str(getattr(edge, name)) for name in names}
    settings["frame_api"]["tls"] = {name: str(getattr(api, name)) for name in names[:2]}
    settings["frame_api"]["tokens"] = str(tokens)
    token = add_token(tokens, "door-app", [CAMERA])
    own = Tls(reader.authority, reader.certificate, reader.key)
    return Services("", cloud, token, Tls(api.authority), own)


@contextmanager
def cloud_thread(folder: Path, bundle: Path, certificates: Certificates | None, flags: dict[str, Any]) -> Iterator[int]:
    """A cloud on an event loop of its own; gives its port."""
    loop, ready, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    port: list[int] = []

    async def serve() -> None:
        tls = None if certificates is None else certificates.reader("test")
        app = running_cloud(folder, Bundle.load(bundle, 1), BrightnessDetector(), tls=tls, **flags)
        async with app as cloud:
            port.append(cloud.app.port)
            ready.set()
            await ended.wait()

    def run() -> None:
        try:
            # Ends what still waits, such as who looks after open calls, and would be destroyed in another test.
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(60)
        yield port[0]
    finally:
        if loop.is_running():
            loop.call_soon_threadsafe(ended.set)
        thread.join()
