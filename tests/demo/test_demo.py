"""``python -m deploy.demo`` as a user runs it, with real services."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import httpx
import numpy as np
import pytest

from deploy.demo.__main__ import default_fps, main
from deploy.demo.clip import Clip
from tests.clips import CLIP_FPS, write_clip

FRAMES = 5


@pytest.fixture
def command(bundle: Path, weights: Path, clip: Path, tmp_path: Path) -> list[str]:
    where = ["--bundle", str(bundle), "--weights", str(weights), "--clip", str(clip), "--data", str(tmp_path / "data")]
    return [sys.executable, "-m", "deploy.demo", *where]


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_the_demo_ends_well_and_its_last_line_holds_the_figures(command: list[str]) -> None:
    done = subprocess.run(
        command, env=os.environ | {"FRAMES": str(FRAMES)}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["frames"] == FRAMES
    assert figures["dropped"] == 0
    assert all(rate > 0 for rate in figures["kbit_per_second"].values())
    assert 0 < figures["capture_to_detected_seconds"]["p50"] <= figures["capture_to_detected_seconds"]["p95"]
    assert figures["detections"]["person"] >= FRAMES
    assert Path(figures["sheet"]).is_file()
    shown = 0
    for path in Path(figures["archive"]).glob("*/*/*/*.mp4"):
        with av.open(str(path)) as video:
            shown += sum(1 for _ in video.decode(video=0))
    assert shown == FRAMES


@pytest.mark.parametrize("argument", ["--frames=abc", "--frames=0", "--fps=nan", "--fps=inf", "--fps=-1", "--fps=x"])
def test_a_number_that_makes_no_sense_is_refused_by_name(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([argument])
    option, _, value = argument.partition("=")
    assert f"argument {option}: {value!r} is no" in capsys.readouterr().err


def heed_interrupts() -> None:
    """As in a terminal: what a shell starts in the background ignores Ctrl-C, and hands that on to its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_takes_all_services_along(command: list[str], cleanup: ExitStack, tmp_path: Path) -> None:
    minute = tmp_path / "minute.mkv"  # long enough not to end before it is interrupted
    write_clip(minute, [np.full((96, 160, 3), number % 250, np.uint8) for number in range(60 * CLIP_FPS)])
    command[command.index("--clip") + 1] = str(minute)
    demo = cleanup.enter_context(
        subprocess.Popen(
            [*command, "--fps", "10"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_interrupts,
        )
    )
    cleanup.callback(demo.kill)
    assert demo.stderr is not None
    assert any("of 600 seen" in line for line in demo.stderr)  # all services run now
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    assert len(children) == 3
    demo.send_signal(signal.SIGINT)
    assert demo.wait(60) == 130
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_a_service_that_cannot_start_is_told_with_the_end_of_its_log(command: list[str], tmp_path: Path) -> None:
    command[command.index("--bundle") + 1] = str(tmp_path / "nowhere")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "icm-cloud ended with exit code" in done.stderr
    assert "nowhere" in done.stderr.split("The end of")[1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("frames", "cores", "fps"), [(None, 2, 2.0), (None, 64, 10.0), (40, 2, 2.0), (320, 2, 4.0), (10_000, 2, 10.0)]
)
def test_the_default_pace_is_what_the_cores_manage_unless_more_frames_are_asked_for(
    frames: int | None, cores: int, fps: float
) -> None:
    clip = Clip(Path("clip.avi"), "clip.avi", 800, Fraction(10), 768, 576, "yuv420p")
    assert default_fps(clip, frames, cores) == fps
    assert default_fps(replace(clip, fps=Fraction(1, 2)), None, 64) == 0.5


def test_kept_up_it_is_watched_in_a_browser_until_ctrl_c(command: list[str], cleanup: ExitStack) -> None:
    demo = cleanup.enter_context(
        subprocess.Popen(
            [*command, "--keep", "--frames", str(FRAMES)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_interrupts,
        )
    )
    cleanup.callback(demo.kill)
    assert demo.stderr is not None
    told = next(line for line in demo.stderr if "stay up until Ctrl-C" in line)
    found = re.search(r"watch it at (\S+): log in as (\S+) with the password (\S+)", told)
    assert found is not None
    with httpx.Client(base_url=found[1], headers={"origin": found[1], "accept": "text/html"}, timeout=60) as browser:
        assert browser.post("/login", data={"name": found[2], "password": found[3]}).status_code == 303
        assert 'data-camera="demo"' in browser.get("/").text
        assert browser.get("/cameras/demo/latest.jpg").headers["content-type"] == "image/jpeg"
    demo.send_signal(signal.SIGINT)
    assert demo.wait(60) == 0
