"""The compose file and the images: they name what exists, pin what they take, and give away no rights."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloud_service.settings import CloudSettings
from edge_service.settings import EdgeSettings
from icm.codec.bundle.shipped import DEFAULT_BUNDLE, SHIPPED
from icm.config.settings import load_settings
from tests.deploy.places import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
GPU: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BUILT = [name for name, service in SERVICES.items() if "build" in service]
DOCKERFILES = sorted((ROOT / "deploy/docker").glob("*.Dockerfile"))


def instructions(path: Path) -> Iterator[tuple[str, str]]:
    """A Dockerfile's instructions with their arguments."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(str.strip, text.splitlines()):
        name, _, rest = line.partition(" ")
        yield name, rest


def stages(path: Path) -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage by its name, with those of the stage that it starts from."""
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for name, rest in instructions(path):
        if name == "FROM":
            base, _, stage = rest.partition(" AS ")
            current = found[stage] = [*found.get(base, [])]
        current.append((name, rest))
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_names_only_files_that_exist(service: str) -> None:
    definition = SERVICES[service]
    mounted = [volume.split(":")[0] for volume in definition.get("volumes", [])]
    for source in mounted:
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], source
    if "build" in definition:
        assert (ROOT / definition["build"]["dockerfile"]).is_file()
        if "target" in definition["build"]:
            assert definition["build"]["target"] in stages(ROOT / definition["build"]["dockerfile"])


def test_the_gpu_file_changes_services_that_there_are() -> None:
    assert set(GPU["services"]) <= set(SERVICES)


OURS = {SERVICES[name]["image"] for name in BUILT if "image" in SERVICES[name]}
"""Names of images that are built here."""


@pytest.mark.parametrize(
    "service", [name for name in SERVICES if name not in BUILT and SERVICES[name]["image"] not in OURS]
)
def test_a_foreign_image_is_pinned_to_a_version(service: str) -> None:
    assert re.search(r":v?\d+\.\d+\.\d+$", SERVICES[service]["image"])


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_open_to_this_machine_only(service: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[service].get("ports", []))


@pytest.mark.parametrize("service", [*BUILT, "viewer"])
def test_our_services_cannot_write_to_their_image_or_gain_rights(service: str) -> None:
    definition = SERVICES[service]
    assert definition["read_only"] is True
    assert definition["cap_drop"] == ["ALL"]
    assert definition["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_runs_as_a_user_without_rights_and_tells_its_health(path: Path) -> None:
    for stage, found in stages(path).items():
        if stage == "build":
            continue
        users = [rest for name, rest in found if name == "USER"]
        assert users, stage
        assert users[-1] == "10001:10001"
        assert any(name == "HEALTHCHECK" for name, _ in found)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_copies_only_what_exists_and_is_not_ignored(path: Path) -> None:
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    for name, rest in instructions(path):
        if name == "COPY" and not rest.startswith("--from"):
            for source in shlex.split(rest)[:-1]:
                assert source == "." or (ROOT / source).exists(), source
                assert source == "." or any(Path(source).is_relative_to(folder) for folder in kept), source


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_layer_of_what_the_project_needs_has_a_folder_for_each_bundle_that_ships(
    path: Path, tmp_path: Path
) -> None:
    """They come with the project's own layer, but without their folders nothing is built."""
    for name, rest in instructions(path):
        command = rest.replace("/src", f"{tmp_path}/src")
        if "mkdir" in command:
            subprocess.run(["sh", "-ec", command.partition("&& pip")[0]], check=True)
            break
        if name == "COPY" and command != rest:
            *sources, target = command.split()
            for source in map(ROOT.joinpath, sources):
                if source.is_dir():
                    shutil.copytree(source, target)
                else:
                    Path(target).mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, target)
    assert {folder.name for folder in (tmp_path / "src/models").iterdir()} == set(SHIPPED)


def test_the_edge_image_installs_the_edge_and_nothing_that_holds_torch() -> None:
    text = (ROOT / "deploy/docker/edge.Dockerfile").read_text()
    assert "ARG EXTRA=edge\n" in text
    assert all(
        "torch" not in rest for name, rest in instructions(ROOT / "deploy/docker/edge.Dockerfile") if name == "RUN"
    )


@pytest.mark.parametrize(("service", "model"), [("edge", EdgeSettings), ("cloud", CloudSettings)])
def test_the_services_take_the_settings_that_are_mounted(
    service: str, model: type[EdgeSettings | CloudSettings]
) -> None:
    path = ROOT / f"deploy/compose/{service}.yaml"
    assert f"./deploy/compose/{service}.yaml:/etc/icm/{service}.yaml:ro" in SERVICES[service]["volumes"]
    settings = load_settings(model, path, {})
    if isinstance(settings, CloudSettings):
        assert settings.viewer.address.endswith(":8080")
        assert SERVICES["viewer"]["ports"] == ["127.0.0.1:8080:8080"]
    assert settings.bundle == DEFAULT_BUNDLE, "the wheel in the image holds that one"
