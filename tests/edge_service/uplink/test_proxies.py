"""A proxy of the environment: never on the way to this machine, and named where it is used."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from edge_service.metrics import EdgeMetrics
from edge_service.uplink.uplink import Uplink
from icm.errors import ConfigError
from icm.rpc.channels import open_channel
from icm.rpc.proxies import proxy_of
from icm.rpc.servers import Server
from icm.service.telemetry import TelemetryServer
from icm.testing.scraping import Metrics

CLOUD = "192.0.2.7:7443"
"""An address that nobody has."""


@pytest.fixture(autouse=True)
def no_other_proxies() -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.lower().endswith("_proxy")}
    yield
    os.environ.update(kept)


class AskedProxy:
    """Takes connections, notes the first line of each, and passes nothing on."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.came = asyncio.Event()
        self.place = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[AskedProxy]:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append((await reader.readline()).decode().strip())
        self.came.set()
        writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[AskedProxy]:
    async with AskedProxy().running() as proxy:
        yield proxy


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
async def test_this_machine_is_never_asked_of_a_proxy(
    proxy: AskedProxy, monkeypatch: pytest.MonkeyPatch, variable: str, host: str
) -> None:
    monkeypatch.setenv(variable, f"http://{proxy.place}")
    server = Server(f"{host}:0", allow_plaintext=False)
    await server.start()
    async with open_channel(f"{host}:{server.port}", allow_plaintext=False) as channel:
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
    await server.stop(0)
    assert proxy.asked == []


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
async def test_elsewhere_the_proxy_that_is_used_is_known(
    proxy: AskedProxy, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, f"http://user:pa55w@{proxy.place}")
    found = proxy_of(CLOUD)
    assert str(found) == f"the proxy {proxy.place} that the environment variable {variable} names"
    async with open_channel(CLOUD, allow_plaintext=True) as channel:
        channel.get_state(try_to_connect=True)
        await proxy.came.wait()
    assert proxy.asked[0] == f"CONNECT {CLOUD} HTTP/1.1"


@pytest.mark.parametrize(
    ("address", "environment"),
    [
        (CLOUD, {}),
        (CLOUD, {"HTTP_PROXY": "http://p:1"}),
        (CLOUD, {"http_proxy": "https://p:1"}),
        (CLOUD, {"grpc_proxy": "", "http_proxy": "http://p:1"}),
        (CLOUD, {"http_proxy": "http://p:1", "no_proxy": "10.0.0.1, 192.0.2.7"}),
        (CLOUD, {"http_proxy": "http://p:1", "no_proxy": "192.0.2.0/24"}),
        (CLOUD, {"http_proxy": "http://p:1", "no_grpc_proxy": "192.0.2.7", "no_proxy": "x"}),
        ("[2001:db8::1]:1", {"http_proxy": "http://p:1", "no_proxy": "2001:db8::/32"}),
        ("icm.cloud.example:1", {"http_proxy": "http://p:1", "no_proxy": ".Cloud.example"}),
    ],
)
def test_what_grpc_asks_no_proxy_for_has_none(
    monkeypatch: pytest.MonkeyPatch, address: str, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(address) is None


@pytest.mark.parametrize("value", ["http://user:pa55w/x@p:1", "http://user:pa55w x", "http://pa55w", "http://[pa55w"])
def test_a_proxy_that_cannot_be_is_refused_and_its_password_not_shown(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("http_proxy", value)
    with pytest.raises(
        ConfigError, match=r"http_proxy names no proxy for 192\.0\.2\.7:7443: write http://proxy:3128, or list"
    ) as error:
        open_channel(CLOUD, allow_plaintext=True)
    assert "pa55w" not in str(error.value)


async def test_an_edge_that_cannot_reach_the_cloud_names_the_proxy_between(
    proxy: AskedProxy, monkeypatch: pytest.MonkeyPatch, metrics, problems, spool
) -> None:
    monkeypatch.setenv("http_proxy", f"http://user:pa55w@{proxy.place}")
    channel = open_channel(CLOUD, allow_plaintext=True)
    uplink = Uplink(spool.camera("gate"), bytes(32), channel, metrics, problems, proxy=proxy_of(CLOUD))
    sending = asyncio.create_task(uplink.run())
    text = await problems.first()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await channel.close()
    assert text.startswith("uplink of gate: the cloud is away: UNAVAILABLE: ")
    assert text.endswith(f" (through the proxy {proxy.place} that the environment variable http_proxy names)")
    assert "pa55w" not in text


async def test_the_demo_reads_what_this_machine_says_of_itself_without_a_proxy(
    proxy: AskedProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{proxy.place}")
    server = TelemetryServer("127.0.0.1:0", EdgeMetrics("test").registry, list)
    server.start()
    scraped = await asyncio.to_thread(Metrics.scrape, server.port)
    server.stop()
    assert scraped.total("icm_build_info") == 1
    assert proxy.asked == []
