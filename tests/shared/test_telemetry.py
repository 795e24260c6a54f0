"""Metrics and health over HTTP."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from shared import telemetry
from shared.errors import ListenError
from shared.telemetry import TelemetryServer, timed


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


def test_a_stage_that_fails_is_timed_too() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("icm_test_seconds", "Spans.", registry=registry)
    with pytest.raises(ValueError, match="boom"), timed(histogram):
        raise ValueError("boom")
    assert registry.get_sample_value("icm_test_seconds_count") == 1
