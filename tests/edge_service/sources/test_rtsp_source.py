from __future__ import annotations

import itertools
import re
import threading

import pytest

from edge_service.camera import reader
from edge_service.camera.queue import FrameQueue
from edge_service.camera.reader import FrameRateLimit, Reader
from edge_service.sources.rtsp import rtsp_source
from icm.errors import SourceError
from icm.service.clock import SystemClock
from tests.edge_service.sources.rtsp_server import RtspServer

CLOCK = SystemClock()


def test_pictures_come_from_a_network_camera_in_order_of_time() -> None:
    with RtspServer() as camera:
        frames = rtsp_source(camera.url, 20.0, CLOCK).frames(threading.Event())
        some = list(itertools.islice(frames, 10))
        frames.close()
    assert {frame.image.shape for frame in some} == {(48, 64, 3)}
    times = [frame.capture_us for frame in some]
    assert times == sorted(times)


def test_a_camera_that_goes_away_while_it_streams_is_an_error() -> None:
    with RtspServer() as camera:
        frames = rtsp_source(camera.url, 20.0, CLOCK).frames(threading.Event())
        next(frames)
    with pytest.raises(SourceError, match=re.escape(f"no picture from rtsp://{camera.place}/***: ")):
        for _ in frames:
            pass


@pytest.mark.parametrize(
    ("host", "written", "meant"),
    [
        ("127.0.0.1", "admin:p@ss:w%rd", "admin:p@ss:w%rd"),
        ("::1", "me@home:ä ß[]\"'\\^`{|}&=+;100%", "me@home:ä ß[]\"'\\^`{|}&=+;100%"),
        ("127.0.0.1", "admin:%2F%3F%23%40%25", "admin:/?#@%"),
    ],
)
def test_user_and_password_arrive_as_they_are_meant(host: str, written: str, meant: str) -> None:
    with RtspServer(host=host, password=meant) as camera:
        frames = rtsp_source(f"rtsp://{written}@{camera.place}/live", 20.0, CLOCK).frames(threading.Event())
        assert next(frames).image.shape == (48, 64, 3)
        frames.close()


async def test_a_camera_that_comes_back_is_read_again(metrics, problems, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "FIRST_RETRY_SECONDS", 0.05)
    queue, stop = FrameQueue(2, True, lambda frame: None), threading.Event()
    with RtspServer() as camera:
        source = rtsp_source(camera.url, 20.0, CLOCK)
        reading = Reader("gate", source, queue, FrameRateLimit(None), metrics, problems, stop)
        thread = threading.Thread(target=reading.run)
        thread.start()
        assert queue.get() is not None
    text = await problems.first()
    assert text.startswith(f"camera gate: no picture from rtsp://{camera.place}/***: ")
    while queue._frames:
        queue.get()
    with RtspServer(camera.port):
        assert queue.get() is not None
        assert problems.lines() == []
        stop.set()
        thread.join()
