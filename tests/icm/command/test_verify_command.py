"""``icm verify`` as a person runs it: a line for each finding, a verdict, and an exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from icm.command.cli import main
from icm.evidence.layout import MANIFEST
from icm.evidence.manifest import parse_manifest
from tests.cases import contents, write_case


def test_a_good_case_ends_with_0_and_says_what_it_rests_on(
    cases: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(cases["gate"])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok     zip: ")
    assert lines[-1].startswith(f"verdict: nothing is wrong with {cases['gate']}, if that key is the archive's")


def test_with_the_archives_key_nothing_is_left_open(
    cases: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signer = parse_manifest(contents(cases["gate"])[MANIFEST]).signer
    (tmp_path / "archive.key").write_text(f"{signer}\n")
    assert main(["verify", str(cases["gate"]), "--key", str(tmp_path / "archive.key")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"verdict: nothing is wrong with {cases['gate']}"
    assert main(["verify", str(cases["gate"]), "--key", "00" * 32]) == 1


def test_what_is_wrong_first_is_in_the_last_line_and_the_status_is_1(
    cases: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = contents(cases["gate"])
    name = next(name for name in files if name.endswith(".mp4"))
    write_case(tmp_path / "case.zip", files | {name: files[name][:-1] + b"x"})
    assert main(["verify", str(tmp_path / "case.zip")]) == 1
    assert f"is NOT what it should be: {name} was changed" in capsys.readouterr().out.splitlines()[-1]


def test_what_cannot_be_read_ends_with_2_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "case.zip").write_bytes(b"no zip")
    for arguments in ([str(tmp_path / "case.zip")], [str(tmp_path / "nothing.zip")], ["x.zip", "--key", "12"]):
        assert main(["verify", *arguments]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_bundle_that_is_none_is_named(
    cases: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(cases["gate"]), "--bundle", str(tmp_path)]) == 2
    assert f"there is no codec bundle at {tmp_path}" in capsys.readouterr().err


def test_the_command_runs_by_itself(cases: dict[str, Path]) -> None:
    words = [sys.executable, "-m", "icm.command.cli", "verify", str(cases["gate"])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
