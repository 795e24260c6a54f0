"""The programs in examples/ and the code in README.md and docs/api.md, run as they stand against real services."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import icm
from tests.services import CAMERA, Services, running_services

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Services]:
    with running_services(tmp_path_factory.mktemp("services"), bundle) as services:
        yield services


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(np.full((48, 64, 3), 200, np.uint8)).save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def run(program: str, *arguments: object, folder: Path) -> str:
    command = [sys.executable, str(EXAMPLES / program), *map(str, arguments)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(("program", "most"), [("codec.py", 15), ("submit.py", 20), ("watch.py", 15)])
def test_an_example_is_read_at_a_glance(program: str, most: int) -> None:
    assert len((EXAMPLES / program).read_text().splitlines()) <= most


def test_codec_writes_the_decoded_photo(photo: Path) -> None:
    assert " bits per pixel" in run("codec.py", photo, folder=photo.parent)
    with Image.open(photo.parent / "decoded.png") as decoded:
        assert decoded.size == (64, 48)


def test_submit_says_what_was_found_and_goes_on_after_what_is_no_photo(services: Services, photo: Path) -> None:
    bad = photo.with_name("bad.jpg")
    bad.write_bytes(b"no photo")
    told = run("submit.py", services.edge, CAMERA, photo, bad, photo, folder=photo.parent).splitlines()
    assert [line.partition(":")[0] for line in told] == [str(photo), str(bad), str(photo)]
    assert told[0].endswith("['bright']")


def test_watch_prints_what_is_found(services: Services, photo: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "watch.py"), services.cloud, CAMERA]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        try:
            assert watching.stdout is not None
            while watching.stdout.readline() != "watching\n":
                assert watching.poll() is None
            with icm.EdgeClient(services.edge) as edge:
                # The subscription stands a moment after the line was printed.
                while not watching_has_line(watching, edge, photo):
                    assert watching.poll() is None
        finally:
            watching.kill()


def watching_has_line(watching: subprocess.Popen[str], edge: icm.EdgeClient, photo: Path) -> bool:
    edge.submit(CAMERA, photo.read_bytes(), wait=True)
    ready, _, _ = select.select([watching.stdout], [], [], 0.5)
    return bool(ready) and "door" in watching.stdout.readline()  # type: ignore[union-attr]


def test_curl_talks_to_both_services(services: Services, tmp_path: Path) -> None:
    command = [str(EXAMPLES / "curl.sh"), services.edge, services.cloud, CAMERA]
    # buf lies beside this Python.
    environment = os.environ | {"PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert '"bitsPerPixel"' in result.stdout
    assert '"rateControl"' in result.stdout


def test_every_piece_of_the_page_runs_after_the_ones_before_it(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/api.md").read_text()
    pieces = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(pieces) >= 5
    names: dict[str, object] = {}
    for piece in pieces:
        there = piece.replace("127.0.0.1:7444", services.edge).replace("127.0.0.1:7443", services.cloud)
        exec(compile(there, "docs/api.md", "exec"), names)
    assert names["frame"].image.shape == names["image"].shape  # type: ignore[attr-defined]
    assert names["clip"].frames >= 1  # type: ignore[attr-defined]
    assert names["clip"].bytes == (tmp_path / "clip.mp4").stat().st_size  # type: ignore[attr-defined]


def test_the_readmes_lines_run_for_whoever_has_a_picture(services: Services) -> None:
    (piece,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {"image": np.full((96, 160, 3), 128, np.uint8)}
    exec(compile(piece.replace("127.0.0.1:7444", services.edge), "README.md", "exec"), names)
    assert names["image"].shape == (96, 160, 3)  # type: ignore[attr-defined]
