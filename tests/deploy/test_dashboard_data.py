"""The real services are scraped by a real Prometheus: all that dashboards and alerts ask for is there."""

from __future__ import annotations

import asyncio
import json
import math
import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from icm.testing.processes import Ports, Service
from tests.debian_tools import needed
from tests.deploy.dashboard import DASHBOARD, queries
from tests.deploy.places import PROMETHEUS
from tests.system.machine import ANY_PORT, PATIENCE_SECONDS, Machine, file_camera


@dataclass(frozen=True)
class Prometheus:
    """A running server and what it scrapes."""

    port: int
    services: tuple[Service, ...]
    targets: tuple[Ports, ...]

    def get(self, path: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def answers(self) -> bool:
        try:
            self.get("query", query="1")
        except OSError:
            return False
        return True

    def values(self, query: str) -> list[float]:
        """What the query returns now, but for what is not a number, as a quantile of nothing is."""
        found = [float(series["value"][1]) for series in self.get("query", query=query)["result"]]
        return [value for value in found if not math.isnan(value)]


@pytest.fixture(scope="module")
def prometheus(
    tmp_path_factory: pytest.TempPathFactory, bundle: Path, weights: Path, clip: Path
) -> Iterator[Prometheus]:
    program = needed("prometheus")
    with ExitStack() as cleanup:
        machine = Machine(tmp_path_factory.mktemp("dashboard"), bundle, cleanup)
        edge, cloud, viewer = asyncio.run(start_services(machine, weights, clip))
        configuration = machine.folder / "prometheus.yml"
        configuration.write_text(scraping(edge=edge[1].metrics, cloud=cloud[1].metrics, viewer=viewer[1].metrics))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = cleanup.enter_context((machine.folder / "prometheus.log").open("w+"))
        server = subprocess.Popen(
            [
                program, f"--config.file={configuration}", f"--storage.tsdb.path={machine.folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
        cleanup.callback(server.wait)
        cleanup.callback(server.kill)
        running = Prometheus(port, (edge[0], cloud[0], viewer[0]), (edge[1], cloud[1], viewer[1]))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not running.answers():
            assert server.poll() is None, Path(log.name).read_text()
            assert time.monotonic() < deadline, "Prometheus does not answer"
            time.sleep(0.1)
        yield running


async def start_services(machine: Machine, weights: Path, clip: Path) -> tuple[tuple[Service, Ports], ...]:
    cloud, cloud_ports = await machine.cloud(detector={"kind": "yolo", "weights": str(weights)})
    camera = file_camera("gate", clip, pace="real_time", loop=True) | {"max_fps": 2}
    settings = machine.cloud_settings(cloud_ports.grpc)
    settings["viewer"] = {"address": ANY_PORT, "metrics": ANY_PORT}
    viewer = machine.start("icm-cloud", settings, command="viewer")
    viewing = viewer, await viewer.listening()
    return await machine.edge(cloud_ports.grpc, camera), (cloud, cloud_ports), viewing


def scraping(**ports: int) -> str:
    """The configuration that is shipped, with these ports for its targets and hurried."""
    configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(PROMETHEUS / name) for name in configuration["rule_files"]]
    for job in configuration["scrape_configs"]:
        (target,) = job["static_configs"][0]["targets"]
        job["static_configs"][0]["targets"] = [f"127.0.0.1:{ports[target.partition(':')[0]]}"]
    return yaml.safe_dump(configuration)


@pytest.mark.parametrize("query", [pytest.param(query, id=title) for title, query in queries()])
async def test_every_panel_shows_data(prometheus: Prometheus, query: str) -> None:
    """Prometheus answers a query that it cannot parse with status 400, which urllib raises at once."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await asyncio.to_thread(prometheus.values, query):
            for service in prometheus.services:
                service.check()
            await asyncio.sleep(0.2)


async def test_the_choice_of_cameras_offers_those_that_there_are(prometheus: Prometheus) -> None:
    wanted = DASHBOARD["templating"]["list"][0]["query"]["query"]
    parsed = re.fullmatch(r"label_values\((\w+), (\w+)\)", wanted)
    assert parsed is not None
    found = await asyncio.to_thread(prometheus.get, f"label/{parsed[2]}/values", **{"match[]": parsed[1]})
    assert found == ["gate"]


async def test_a_panel_of_another_camera_is_empty(prometheus: Prometheus) -> None:
    queried = [query for title, query in queries(camera="yard") if title == "Bitrate by camera"]
    assert [await asyncio.to_thread(prometheus.values, query) for query in queried] == [[]]


def test_all_services_are_scraped(prometheus: Prometheus) -> None:
    assert prometheus.values("up") == [1.0, 1.0, 1.0]


def test_every_alert_is_evaluated_and_asks_for_metrics_that_the_services_have(prometheus: Prometheus) -> None:
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {(rule["name"], rule.get("lastError", "")) for rule in rules} == {(rule["name"], "") for rule in rules}
    served = {"up"}
    for ports in prometheus.targets:
        with urllib.request.urlopen(f"http://127.0.0.1:{ports.metrics}/metrics", timeout=10) as answer:
            for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", answer.read().decode(), re.MULTILINE):
                served.add(f"{name}_bucket" if kind == "histogram" else name)
    asked = {name for rule in rules for name in re.findall(r"\bicm_\w+|\bup\b", rule["query"])}
    assert asked <= served
    assert len(rules) > 10
