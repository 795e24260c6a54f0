"""A service that cannot start says why in one line, and ends with an exit code that tells so."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.machine import Machine, file_camera

Settings = dict[str, Any]


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that someone else listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


async def refusal(machine: Machine, name: str, settings: Settings) -> tuple[int, str]:
    """Starts a service that must not come up; its exit code and the last line it said."""
    service = machine.start(name, settings)
    code = await service.ended()
    assert "Traceback" not in service.log
    return code, service.log.splitlines()[-1]


@pytest.mark.parametrize("section", ["frame_api", "metrics"])
async def test_an_edge_names_the_address_that_is_taken(
    machine: Machine, small_clip: Path, taken: str, section: str
) -> None:
    settings = machine.edge_settings(1, file_camera("gate", small_clip)) | {section: {"address": taken}}
    code, line = await refusal(machine, "icm-edge", settings)
    assert code == 2
    assert taken in line


@pytest.mark.parametrize("section", ["ingest", "metrics"])
async def test_a_cloud_names_the_address_that_is_taken(machine: Machine, taken: str, section: str) -> None:
    code, line = await refusal(machine, "icm-cloud", machine.cloud_settings() | {section: {"address": taken}})
    assert code == 2
    assert taken in line


def unknown_key(settings: Settings) -> str:
    settings["colour"] = "blue"
    return "colour: unknown setting"


def no_bundle(settings: Settings) -> str:
    settings["bundle"] = "/nowhere/bundle"
    return "/nowhere/bundle"


def public_plaintext(settings: Settings) -> str:
    section = "ingest" if "ingest" in settings else "frame_api"
    settings[section] = {"address": "0.0.0.0:0"}
    return "refusing to speak plaintext on 0.0.0.0:0"


@pytest.mark.parametrize("spoil", [unknown_key, no_bundle, public_plaintext])
@pytest.mark.parametrize("name", ["icm-edge", "icm-cloud"])
async def test_wrong_settings_are_named(
    machine: Machine, small_clip: Path, name: str, spoil: Callable[[Settings], str]
) -> None:
    edge = name == "icm-edge"
    settings = machine.edge_settings(1, file_camera("gate", small_clip)) if edge else machine.cloud_settings()
    complaint = spoil(settings)
    code, line = await refusal(machine, name, settings)
    assert code == 2
    assert complaint in line


async def test_a_clip_that_is_not_there_is_named(machine: Machine, tmp_path: Path) -> None:
    settings = machine.edge_settings(1, file_camera("gate", tmp_path / "nowhere.mkv"))
    code, line = await refusal(machine, "icm-edge", settings)
    assert code == 2
    assert "nowhere.mkv" in line
