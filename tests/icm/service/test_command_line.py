"""Commands end without a traceback whenever they are interrupted and whoever stops reading them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from icm.service.command_line import EXIT_UNREAD
from tests.clips import write_clip

MODULES = {"icm": "icm.command.cli", "icm-edge": "edge_service.cli", "icm-cloud": "cloud_service.cli"}


def start(module: str, *arguments: object, **streams: object) -> subprocess.Popen[bytes]:
    """The command in a group of its own, as a terminal or a service manager would start it."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **streams)  # type: ignore[call-overload, no-any-return]


def wait_for_module(process: subprocess.Popen[bytes], library: str) -> None:
    """Until the process has loaded that library: it is in the middle of its start then."""
    while process.poll() is None and library not in Path(f"/proc/{process.pid}/maps").read_text():
        time.sleep(0.001)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name", MODULES)
def test_a_signal_in_the_middle_of_the_start_ends_a_command_at_once_and_silently(
    name: str, number: signal.Signals
) -> None:
    process = start(MODULES[name], "run" if name != "icm" else "doctor")
    wait_for_module(process, "pydantic_core" if name != "icm" else "numpy")
    os.killpg(process.pid, number)
    out, error = process.communicate(timeout=60)
    assert process.returncode == -number
    assert out == b""
    assert error in (b"", b"icm: interrupted; files already finished are kept\n") or b"told to stop" in error
    assert b"Traceback" not in error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_file_that_was_being_written_is_gone(tmp_path: Path, number: signal.Signals) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (96, 160, 3), np.uint8)
    write_clip(tmp_path / "clip.mkv", [np.roll(noise, 5 * shift, 1) for shift in range(40)])
    process = start("icm.command.cli", "encode", tmp_path / "clip.mkv", tmp_path / "out.icm", "--threads", 1)
    while not list(tmp_path.glob(".out.icm.part")):
        assert process.poll() is None
        time.sleep(0.001)
    os.killpg(process.pid, number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == -number
    assert error.endswith(b"files already finished are kept\n")
    assert error.count(b"\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]


def test_under_nohup_a_command_outlives_its_terminal(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mkv", [np.full((32, 48, 3), 60 * shift, np.uint8) for shift in range(4)])
    command = [sys.executable, "-m", "icm.command.cli", "encode", tmp_path / "clip.mkv", tmp_path / "out.icm"]
    process = subprocess.Popen(["nohup", *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    wait_for_module(process, "numpy")
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert (tmp_path / "out.icm").is_file()


@pytest.mark.parametrize(
    ("name", "arguments", "unbuffered"),
    [
        ("icm", ["--help"], ""),
        ("icm-edge", ["config", "--explain"], ""),
        ("icm-edge", ["config", "--explain"], "1"),
        ("icm-cloud", ["config", "--explain"], ""),
    ],
)
def test_nobody_reading_is_no_error(name: str, arguments: list[str], unbuffered: str) -> None:
    process = start(MODULES[name], *arguments, env=os.environ | {"PYTHONUNBUFFERED": unbuffered})
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(60) == EXIT_UNREAD


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_result_that_nobody_reads_is_no_error(tmp_path: Path, command: str) -> None:
    path = tmp_path / "in.mkv"
    write_clip(path, [np.full((32, 48, 3), 60 * shift, np.uint8) for shift in range(4)])
    if command == "decode":
        start("icm.command.cli", "encode", path, tmp_path / "in.icm", "--threads", 1).communicate()
        path = tmp_path / "in.icm"
    process = start("icm.command.cli", command, path, "-", "--threads", 1)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(60) == EXIT_UNREAD


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_under_what_is_printed_is_one_line(unbuffered: str) -> None:
    command = [sys.executable, "-m", "edge_service.cli", "config", "--explain"]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, env=environment)
    assert done.returncode == 2
    assert done.stderr == b"icm-edge: cannot write standard output: No space left on device\n"
