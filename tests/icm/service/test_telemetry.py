"""Metrics and health over HTTP."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from icm.errors import ListenError
from icm.rpc.servers import Server
from icm.service import telemetry
from icm.service.bounded_http import MOST_REQUESTS
from icm.service.telemetry import TelemetryServer, timed


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest.fixture
def server(problems: list[str]) -> Iterator[TelemetryServer]:
    registry = CollectorRegistry()
    Counter("icm_test_things_total", "Things.", registry=registry).inc(3)
    server = TelemetryServer("127.0.0.1:0", registry, lambda: problems)
    server.start()
    yield server
    server.stop()


def test_metrics_are_served(server: TelemetryServer) -> None:
    status, text = get(server.port, "/metrics")
    assert status == 200
    assert "icm_test_things_total 3.0" in text


def test_health_is_ok_until_there_is_a_problem(server: TelemetryServer, problems: list[str]) -> None:
    assert get(server.port, "/healthz") == (200, "ok\n")
    problems.append("the disk is full")
    assert get(server.port, "/healthz") == (503, "the disk is full\n")


def test_other_paths_are_not_found(server: TelemetryServer) -> None:
    assert get(server.port, "/admin")[0] == 404


def test_a_client_that_says_nothing_loses_its_connection(
    server: TelemetryServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(telemetry._QuietHandler, "timeout", 0.01)
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(b"GET /metr")
        assert connection.recv(1) == b""
    assert "Traceback" not in capfd.readouterr().err


def test_a_port_in_use_is_named(server: TelemetryServer) -> None:
    with pytest.raises(ListenError, match=f"127.0.0.1:{server.port}.*another process"):
        TelemetryServer(f"127.0.0.1:{server.port}", CollectorRegistry(), list)


@pytest.mark.parametrize("address", ["[::1]:0", "[::]:0", "0.0.0.0:0", "localhost:0"])
def test_addresses_of_either_kind_can_be_listened_on(address: str) -> None:
    server = TelemetryServer(address, CollectorRegistry(), list)
    server.start()
    host = {"[::1]:0": "[::1]"}.get(address, "127.0.0.1")
    with urllib.request.urlopen(f"http://{host}:{server.port}/healthz", timeout=5) as answer:
        assert answer.read() == b"ok\n"
    server.stop()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("192.0.2.1:9464", "this machine has no such address"),
        ("[2001:db8::1]:9464", "this machine has no such address"),
        ("nowhere.invalid:9464", "cannot listen on nowhere.invalid:9464: "),
    ],
)
async def test_an_address_that_cannot_be_listened_on_is_told_by_its_own_reason(address: str, why: str) -> None:
    for listen in (lambda: TelemetryServer(address, CollectorRegistry(), list), lambda: Server(address, True)):
        with pytest.raises(ListenError, match=why) as caught:
            listen()
        assert "another process" not in str(caught.value)


def telemetry_threads() -> int:
    return sum(thread.name == "http" for thread in threading.enumerate())


@pytest.mark.parametrize(
    "said", [b"", b"GET /met", b"GET /metrics HTTP/1.0\r\nX: "], ids=["nothing", "little", "headers"]
)
def test_slow_clients_take_few_threads_and_keep_nobody_out(server: TelemetryServer, said: bytes) -> None:
    with ExitStack() as stack:
        for count in range(8 * MOST_REQUESTS):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 20))
            slow.sendall(said)
            if count % MOST_REQUESTS == 0:
                assert get(server.port, "/metrics")[0] == 200
            assert telemetry_threads() <= MOST_REQUESTS
        assert get(server.port, "/healthz") == (200, "ok\n")
        assert telemetry_threads() <= MOST_REQUESTS


def test_clients_that_read_nothing_take_few_threads_and_keep_nobody_out() -> None:
    registry = CollectorRegistry()
    many = Counter("icm_test_many", "More than a socket takes.", ["name"], registry=registry)
    for number in range(300):
        many.labels(f"{number:020000}")
    server = TelemetryServer("127.0.0.1:0", registry, list)
    server.start()
    with ExitStack() as stack:
        for _ in range(MOST_REQUESTS + 4):
            deaf = socket.socket()
            stack.enter_context(deaf)
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", server.port))
            deaf.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert get(server.port, "/healthz") == (200, "ok\n")
        assert telemetry_threads() <= MOST_REQUESTS
    server.stop()


def test_requests_that_got_no_thread_keep_nobody_out_later(server: TelemetryServer) -> None:
    usual = threading.stack_size(1 << 46)  # more than there is, so that no thread starts
    try:
        for _ in range(2 * MOST_REQUESTS):
            with pytest.raises(OSError, match=r"closed|reset"):
                get(server.port, "/healthz")
    finally:
        threading.stack_size(usual)
    assert get(server.port, "/healthz") == (200, "ok\n")
    assert telemetry_threads() <= 1


def test_a_stage_that_fails_is_timed_too() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("icm_test_seconds", "Spans.", registry=registry)
    with pytest.raises(ValueError, match="boom"), timed(histogram):
        raise ValueError("boom")
    assert registry.get_sample_value("icm_test_seconds_count") == 1
