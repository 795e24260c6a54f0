from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from edge_service.settings import UsbSourceSettings
from edge_service.sources import capture, usb
from edge_service.sources.device import DeviceSource
from edge_service.sources.factory import make_source
from edge_service.sources.rtsp import rtsp_source
from edge_service.sources.usb import usb_source
from icm.errors import SourceError
from icm.service.clock import SystemClock
from tests.edge_service.parts import write_turned_clip

CLOCK = SystemClock()


@pytest.fixture
def blackhole() -> Iterator[str]:
    """An address that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def children() -> set[str]:
    return set(Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/children").read_text().split())


def test_pictures_come_through_the_child_process_as_rgb(clip: Path) -> None:
    frames = DeviceSource(str(clip), "the clip", None, {}, 20.0, CLOCK).frames(threading.Event())
    first = next(frames)
    assert first.image.shape == (48, 64, 3)
    assert abs(first.capture_us - CLOCK.now_us()) < 60_000_000
    levels = [float(first.image.mean()), *(float(frame.image.mean()) for frame in itertools.islice(frames, 9))]
    assert levels == sorted(levels)
    assert levels[0] < levels[-1]
    with pytest.raises(SourceError, match="no picture from the clip: it closed the stream"):
        next(frames)


def test_a_refused_connection_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SourceError, match=rf"no picture from rtsp://127.0.0.1:{port}/: .*refused"):
        next(rtsp_source(f"rtsp://127.0.0.1:{port}/", 30.0, CLOCK).frames(threading.Event()))


def test_a_camera_that_accepts_and_never_answers_is_given_up_and_its_process_killed(blackhole: str) -> None:
    before = children()
    source = rtsp_source(f"rtsp://viewer:secret@{blackhole}/", 1.0, CLOCK)
    with pytest.raises(SourceError, match=rf"no picture from rtsp://{blackhole}/ within 1 s"):
        next(source.frames(threading.Event()))
    assert children() == before


def test_a_stop_is_obeyed_while_a_camera_hangs(blackhole: str) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    assert list(rtsp_source(f"rtsp://{blackhole}/", 60.0, CLOCK).frames(stop)) == []
    assert time.monotonic() - started < 50


def test_an_absent_usb_camera_is_named() -> None:
    with pytest.raises(SourceError, match="no picture from /dev/video99: No such file"):
        next(usb_source("/dev/video99", 8.0, CLOCK).frames(threading.Event()))


@pytest.mark.parametrize("timeout_seconds", [0.4, 30.0])
def test_a_camera_on_this_machine_is_waited_for_as_long_as_its_setting_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timeout_seconds: float
) -> None:
    """A pipe stands for the device; its first picture takes a second."""
    monkeypatch.setattr(usb, "_FORMAT", "mjpeg")
    device, picture = tmp_path / "video0", BytesIO()
    os.mkfifo(device)
    Image.new("RGB", (64, 48), (90, 90, 90)).save(picture, "JPEG")
    settings = UsbSourceSettings(kind="usb", device=str(device), timeout_seconds=timeout_seconds)
    frames = make_source(settings, CLOCK).frames(threading.Event())
    program = "import sys, time; f = open(sys.argv[1], 'wb'); time.sleep(1); f.write(sys.stdin.buffer.read())"
    with subprocess.Popen([sys.executable, "-S", "-c", program, device], stdin=subprocess.PIPE) as camera:
        assert camera.stdin is not None
        camera.stdin.write(picture.getvalue())
        camera.stdin.close()
        try:
            if timeout_seconds < 1:
                with pytest.raises(SourceError, match=r"within 0.4 s: is the camera on and .* its timeout_seconds"):
                    next(frames)
            else:
                assert next(frames).image.shape == (48, 64, 3)
        finally:
            frames.close()
            camera.kill()


def test_the_child_dies_with_its_parent_even_while_a_camera_hangs(blackhole: str) -> None:
    child = subprocess.Popen([sys.executable, "-P", capture.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        assert child.stdin is not None
        order = {
            "url": f"rtsp://{blackhole}/",
            "format": "rtsp",
            "options": {"rtsp_transport": "tcp"},
            "timeout_seconds": 60,
        }
        child.stdin.write(json.dumps(order).encode() + b"\n")
        # A killed parent's pipes close without a word.
        child.stdin.close()
        assert child.wait(20) == 0


def test_pictures_of_a_camera_that_lies_on_its_side_are_upright(tmp_path: Path) -> None:
    write_turned_clip(tmp_path / "clip.mp4")
    frames = DeviceSource(str(tmp_path / "clip.mp4"), "the clip", None, {}, 20.0, CLOCK).frames(threading.Event())
    for frame in itertools.islice(frames, 3):
        assert frame.image.shape == (64, 48, 3)
        assert frame.image[:16].mean() > 200 > 60 > frame.image[-16:].mean()
