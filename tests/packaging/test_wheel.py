"""What is installed from the wheel, in fresh environments far from the repository, as a stranger has it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icm.codec.bundle.manifest import GOLDEN, MANIFEST
from icm.codec.bundle.shipped import SHIPPED, SHIPPED_BUNDLES
from icm.version import VERSION

ROOT = Path(__file__).parents[2]
PACKAGES = {"icm", "edge_service", "cloud_service", "icm_train", "icm_bench"}
COMMANDS = {"icm": "edge", "icm-edge": "edge", "icm-cloud": "cloud", "icm-train": "train", "icm-bench": "train"}
"""Every command, and the extra that installs what it needs."""

WALK = """
import importlib, json, pkgutil, sys
wrong = {}
for package in sys.argv[1:]:
    names = [module.name for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")]
    # Those are no module for Python, one that moves the clock of processes started with it, and one that Alembic runs.
    odd = (".kernels", ".sitecustomize", ".migrations.env")
    for name in [package, *(name for name in names if not name.endswith(odd))]:
        try:
            importlib.import_module(name)
        except ImportError as error:
            wrong[name] = str(error)
print(json.dumps({"wrong": wrong, "loaded": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


@dataclass(frozen=True)
class Environment:
    """An environment with the wheel. Attributes: folder, its own; away, a folder that is no part of the repository."""

    folder: Path
    away: Path

    def run(self, command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        words = [str(self.folder / "bin" / command), *map(str, arguments)]
        names = ("PATH", "HOME", "SSL_CERT_FILE")
        environment = {name: os.environ[name] for name in names if name in os.environ}
        return subprocess.run(words, cwd=self.away, env=environment, capture_output=True, text=True, check=False)

    def imported(self, *packages: str) -> tuple[dict[str, str], set[str]]:
        """Which modules of the packages cannot be imported, with the reason; and all that were loaded, top level."""
        result = self.run("python", "-c", WALK, *packages)
        assert result.returncode == 0, result.stderr
        found = json.loads(result.stdout.splitlines()[-1])
        return found["wrong"], set(found["loaded"])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel that was made from that sdist and nothing else."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


def install(extra: str, wheel: Path, folder: Path) -> None:
    options = ["--quiet", "--no-compile", "--disable-pip-version-check", "-c", ROOT / "constraints.txt"]
    command = [folder / "bin/python", "-m", "pip", "install", *options, f"{wheel}[{extra}]"]
    subprocess.run(command, check=True, cwd=folder)


@pytest.fixture(scope="module")
def edge(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return fresh("edge", wheel, tmp_path_factory)


@pytest.fixture(scope="module")
def cloud(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return fresh("cloud", wheel, tmp_path_factory)


def fresh(extra: str, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp(extra)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install(extra, wheel, folder)
    return Environment(folder, tmp_path_factory.mktemp("away"))


def test_the_wheel_holds_our_packages_typed_each_bundle_once_and_nothing_else(wheel: Path) -> None:
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert {name.partition("/")[0] for name in names} == PACKAGES
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    steps = {path.relative_to(ROOT).as_posix() for path in (ROOT / "cloud_service/database/migrations").rglob("*.py")}
    assert steps <= set(names)
    page = {path.relative_to(ROOT / "shared").as_posix() for path in (ROOT / "shared/icm/evidence/web").iterdir()}
    assert page <= set(names), "the page that an evidence file carries"
    viewer = ROOT / "cloud_service/viewer"
    served = {
        path.relative_to(ROOT).as_posix()
        for folder in ("static", "templates")
        for path in (viewer / folder).rglob("*")
        if path.is_file()
    }
    assert served <= set(names), "the viewer's pages"
    others = set(names) - page - served
    endings = Counter(Path(name).suffix for name in others if not name.startswith("icm/bundles/"))
    assert set(endings) == {".py", ".pyi", ".typed", ".yaml", ".c", ".h", ".so"}
    manifests = {name for name in names if name.endswith(MANIFEST)}
    assert manifests == {f"icm/bundles/{name}/{MANIFEST}" for name in SHIPPED}
    encoders = sum(name.endswith("encoder.onnx") for name in names)
    assert encoders == 2 * len(SHIPPED), "encoder and hyper_encoder"


def test_the_sdist_holds_sources_and_no_results(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "hatch_build.py", "proto/icm/v1/ingest.proto"} <= names
    assert not [name for name in names if name.endswith((".pt", ".so", ".png")) or "/results/" in name]
    assert {name.split("/")[1] for name in names if name.startswith("models/")} == set(SHIPPED)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("extra", ["edge", "cloud"])
def test_every_command_says_its_version_and_help_or_what_to_install(
    request: pytest.FixtureRequest, extra: str, command: str
) -> None:
    environment: Environment = request.getfixturevalue(extra)
    holds = {"edge"} if extra == "edge" else {"edge", "cloud"}
    for option, meant in (("--version", f"{command} {VERSION}"), ("--help", f"usage: {command}")):
        result = environment.run(command, option)
        if COMMANDS[command] in holds or command == "icm-bench":
            assert result.returncode == 0, result.stderr
            assert (result.stdout + result.stderr).startswith(meant)
        else:
            assert result.returncode == 2
            wanted = rf"{command}: the package \w+ is not installed: pip install 'icm-bridge\[{COMMANDS[command]}\]'\n"
            assert re.fullmatch(wanted, result.stderr)


@pytest.mark.parametrize("extra", ["edge", "cloud"])
def test_a_picture_is_coded_and_decoded(request: pytest.FixtureRequest, extra: str) -> None:
    environment: Environment = request.getfixturevalue(extra)
    ramp = np.broadcast_to(np.arange(96, dtype=np.uint8)[:, None, None] * 2, (96, 128, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(environment.away / "ramp.png")
    for verb, source, target in (("encode", "ramp.png", "ramp.icm"), ("decode", "ramp.icm", "back.png")):
        result = environment.run("icm", verb, source, target)
        assert result.returncode == 0, result.stderr
    with Image.open(environment.away / "back.png") as picture:
        assert np.abs(np.asarray(picture, np.int16) - ramp).mean() < 4


@pytest.mark.parametrize("folder", SHIPPED_BUNDLES, ids=lambda folder: folder.name)
def test_golden_records_of_every_bundle_that_ships_are_decoded_far_from_the_repository(
    edge: Environment, folder: Path
) -> None:
    """The file says which bundle made it."""
    result = edge.run("icm", "decode", folder / GOLDEN, f"{folder.name}.mkv")
    assert result.returncode == 0, result.stderr
    assert (edge.away / f"{folder.name}.mkv").stat().st_size > 0


def test_every_module_of_the_edge_imports_without_torch(edge: Environment) -> None:
    wrong, loaded = edge.imported("icm", "edge_service")
    # It makes torchvision work beside a torch, where there is one.
    assert wrong == {}
    assert not loaded & {"torch", "torchvision", "ultralytics", "sqlalchemy"}


def test_every_module_of_the_cloud_imports_but_those_of_an_extra(cloud: Environment) -> None:
    wrong, _ = cloud.imported("icm", "edge_service", "cloud_service")
    assert {name.rpartition(".")[0] for name in wrong} == {"cloud_service.viewer.oidc"}


def test_every_module_of_training_and_benchmarks_imports_and_every_benchmark_has_a_help(
    cloud: Environment, wheel: Path
) -> None:
    install("cloud,viewer-oidc,train", wheel, cloud.folder)
    assert cloud.imported(*PACKAGES)[0] == {}
    program = (
        "import sys\n"
        "from icm_bench.cli import BENCHMARKS, main\n"
        "for name in BENCHMARKS:\n"
        "    try: main([name, '--help'])\n"
        "    except SystemExit as end: assert not end.code, name\n"
    )
    result = cloud.run("python", "-c", program)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("usage: icm-bench ") == len(re.findall("^usage: ", result.stdout, re.MULTILINE)) > 15
    assert cloud.run("icm-train", "--help").stdout.startswith("usage: icm-train")
