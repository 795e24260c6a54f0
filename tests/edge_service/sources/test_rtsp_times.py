"""When pictures of network cameras were taken, and how long the next one is waited for."""

from __future__ import annotations

import itertools
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_service.sources import Frame, device
from edge_service.sources.rtsp import rtsp_source
from icm.errors import SourceError
from icm.service.clock import SystemClock
from tests.debian_tools import environment, leave_out
from tests.edge_service.sources.rtsp_server import LEVELS, RtspServer

CLOCK = SystemClock()


def some(url: str, count: int, timeout_seconds: float = 20.0) -> list[Frame]:
    frames = rtsp_source(url, timeout_seconds, CLOCK).frames(threading.Event())
    taken = list(itertools.islice(frames, count))
    frames.close()
    return taken


def level(frame: Frame) -> int:
    """Which of the server's greys the frame shows."""
    return min(LEVELS, key=lambda grey: abs(grey - float(frame.image[:, 40:].mean())))


def steps(frames: list[Frame]) -> list[float]:
    """Seconds from each frame to the next."""
    return [(b.capture_us - a.capture_us) / 1e6 for a, b in itertools.pairwise(frames)]


def test_the_first_frames_of_a_connection_are_kept_and_so_are_those_of_the_next() -> None:
    with RtspServer() as camera:
        first, again = some(camera.url, 6), some(camera.url, 6)
    assert [level(frame) for frame in first] == [level(frame) for frame in again] == LEVELS[:6]
    assert first[-1].capture_us < again[0].capture_us


def test_frames_that_the_network_held_up_keep_their_own_times() -> None:
    at_once = [(0.0, 0.0), (0.6, 0.05), *((0.0, 0.05 * number) for number in range(2, 10)), (0.5, 1.0)]
    with RtspServer(schedule=at_once) as camera:
        frames = some(camera.url, 10)
    assert steps(frames) == pytest.approx([0.05] * 9, abs=0.005)


def test_a_clock_of_the_camera_that_is_set_leaves_times_that_rise_and_none_in_the_future() -> None:
    stamps = [0.0, 0.1, 0.2, 3600.0, 3600.1, 50.0, 50.1, 50.2, 50.3]
    with RtspServer(schedule=[(0.1, stamp) for stamp in stamps]) as camera:
        frames = some(camera.url, 8)
    assert min(steps(frames)) > 0
    assert frames[-1].capture_us <= CLOCK.now_us()
    assert frames[-1].capture_us - frames[0].capture_us < 60e6


def test_a_camera_that_is_slower_than_its_timeout_is_waited_for_on_one_connection() -> None:
    with RtspServer(schedule=[(0.1, 0.0), (5.5, 5.5), (60.0, 65.5)]) as camera:
        frames = some(camera.url, 2, timeout_seconds=5.0)
        assert camera.streamed == 1
    # The second is handed out without waiting for the third, and with its own time.
    assert steps(frames) == pytest.approx([5.5], abs=0.05)


def test_a_connected_camera_that_never_sends_a_picture_is_given_up_in_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(device, "FIRST_PICTURE_SECONDS", 7.0)
    with (
        RtspServer(schedule=[]) as camera,
        pytest.raises(SourceError, match=rf"no picture from rtsp://{camera.place}/\S+ for .* though it is connected"),
    ):
        some(camera.url, 1, timeout_seconds=5.0)
    assert "but it is connected; waiting for 7 s" in caplog.text


@pytest.mark.parametrize("request_", ["DESCRIBE", "PLAY"])
def test_a_camera_that_hangs_before_it_agrees_to_send_is_given_up_after_the_timeout(request_: str) -> None:
    with (
        RtspServer(hangs_at=request_) as camera,
        pytest.raises(
            SourceError, match=rf"no picture from rtsp://{camera.place}/\S+ within 1 s: is the camera on and reachable"
        ),
    ):
        some(camera.url, 1, timeout_seconds=1.0)


def test_a_camera_that_falls_silent_is_given_up_after_the_timeout_though_it_is_connected() -> None:
    with (
        RtspServer(schedule=[(0.1, 0.1 * number) for number in range(5)]) as camera,
        pytest.raises(SourceError, match=rf"no picture from rtsp://{camera.place}/\S+ for .* though it is connected"),
    ):
        some(camera.url, 9, timeout_seconds=5.0)


GST_PYTHON = "/usr/bin/python3"
GST_CAMERA = """
try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer
except (ImportError, ValueError) as error:
    raise SystemExit(print(error)) from None

LAUNCH = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=128,height=96,framerate=10/1"
    " ! x264enc tune=zerolatency key-int-max=10 ! rtph264pay name=pay0 pt=96"
    " audiotestsrc is-live=true wave=silence ! alawenc ! rtppcmapay name=pay1 pt=8 )"
)

Gst.init(None)
missing = [name for name in ("videotestsrc", "x264enc", "rtph264pay", "alawenc") if not Gst.ElementFactory.find(name)]
if missing:
    raise SystemExit(print(*missing))
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(LAUNCH)
server.get_mount_points().add_factory("/cam", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""
"""Prints its port, or what is missing."""


@pytest.fixture
def gst_camera(tmp_path: Path) -> Iterator[str]:
    """An RTSP server of GStreamer's with picture and sound, ten frames a second."""
    if not Path(GST_PYTHON).is_file():
        leave_out("needs Debian's gir1.2-gst-rtsp-server-1.0 and python3-gi")
    server = subprocess.Popen(
        [GST_PYTHON, "-c", GST_CAMERA],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(tmp_path),
    )
    assert server.stdout is not None
    try:
        line = server.stdout.readline().strip()
        if not line.isdigit():
            leave_out(f"needs Debian's gir1.2-gst-rtsp-server-1.0 with x264 and good plugins: {line}")
        yield f"rtsp://127.0.0.1:{line}/cam"
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def test_a_real_servers_first_frames_lie_as_far_apart_as_it_took_them(gst_camera: str) -> None:
    frames = some(gst_camera, 20)
    assert all(frame.image.shape == (96, 128, 3) for frame in frames)
    # It hands out its very first frame before its clock runs.
    assert steps(frames)[1:] == pytest.approx([0.1] * 18, abs=0.05)
    assert np.median(steps(frames)) == pytest.approx(0.1, abs=0.005)
