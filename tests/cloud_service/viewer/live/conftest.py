"""A cloud whose cameras show a bright square that moves, and a viewer beside it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser

from cloud_service.detection import Detection
from cloud_service.viewer.accounts.roles import Role
from icm.codec.bitstream.record import Record, StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import Encoder
from icm.testing.processes import Service
from tests.browser import chromium
from tests.cloud_service.running import RunningCloud, running_cloud
from tests.cloud_service.viewer.house import House, add_user, running_viewer

WIDTH, HEIGHT, SIDE = 320, 192, 48


class SquareDetector:
    """Finds the bright square."""

    model, batch = "square", 4

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        return [[self._look(image)] for image in images]

    def _look(self, image: NDArray[np.uint8]) -> Detection:
        rows, columns = np.nonzero(image.mean(axis=2) > 140)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        return Detection("square", 0.9, *map(float, edges))


class Camera:
    """Sends pictures as an edge would: each captured now."""

    def __init__(self, bundle: Bundle, name: str) -> None:
        self.name, self.sequence = name, 0
        self._encoder = Encoder(bundle)
        self._header = StreamHeader(bundle.codec_id, name, 1, time.time_ns() // 1000, WIDTH, HEIGHT)

    def record(self, left: int, top: int = 48) -> tuple[StreamHeader, list[Record]]:
        """The next one, with the square there."""
        picture = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
        picture[top : top + SIDE, left : left + SIDE] = 230
        self.sequence += 1
        return self._header, [self._encoder.encode(picture, 5).record(self.sequence, time.time_ns() // 1000)]


class LiveHouse:
    """A running cloud and viewer.

    Attributes:
        house: the viewer.
    """

    def __init__(self, house: House, cloud: RunningCloud, loop: asyncio.AbstractEventLoop, bundle: Bundle) -> None:
        self.house, self._cloud, self._loop, self._bundle = house, cloud, loop, bundle
        self._cameras: dict[str, Camera] = {}

    def camera(self, name: str) -> Camera:
        """A camera that has sent a picture, and is known to the database."""
        camera = self._cameras.setdefault(name, Camera(self._bundle, name))
        self.send(camera, 16)
        return camera

    def send(self, camera: Camera, left: int, top: int = 48) -> int:
        """Has a camera send a picture; returns its sequence."""
        self._run(self._cloud.deliver(*camera.record(left, top)))
        return camera.sequence

    @contextmanager
    def sending(self, *cameras: Camera) -> Iterator[None]:
        """Has cameras send pictures again and again while the block runs, each another than the one before."""
        ended = threading.Event()

        def send() -> None:
            while not ended.wait(0.05):
                for camera in cameras:
                    self.send(camera, 16 + camera.sequence * 32 % (WIDTH - SIDE - 16))

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def watched(self, camera: str) -> bool:
        """Whether the cloud shows a camera to anybody."""
        return self._cloud.app._live.wants(camera)

    @property
    def cloud_port(self) -> int:
        """Of the cloud."""
        return self._cloud.app.port

    def _run(self, what: object) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(60)  # type: ignore[arg-type]


@contextmanager
def cloud_in_thread(folder: Path, bundle: Bundle) -> Iterator[tuple[RunningCloud, asyncio.AbstractEventLoop]]:
    """A cloud on an event loop of its own."""
    ready, ended, given = threading.Event(), asyncio.Event(), []

    async def serve() -> None:
        async with running_cloud(folder, bundle, SquareDetector()) as cloud:
            given.append((cloud, asyncio.get_running_loop()))
            ready.set()
            await ended.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(60)
    try:
        yield given[0]
    finally:
        given[0][1].call_soon_threadsafe(ended.set)
        thread.join()


class AnotherViewer:
    """One more viewer of the same cloud, which keeps its port when it is started again.

    Attributes:
        url: where it is.
    """

    def __init__(self, settings: dict[str, Any], folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self.url = ""
        self.start()

    def start(self) -> None:
        self._service = Service("icm-cloud", self._settings, self._folder, command="viewer")
        # Not in this thread, in which playwright has an event loop.
        with ThreadPoolExecutor(1) as thread:
            port = thread.submit(lambda: asyncio.run(self._service.listening())).result().grpc
        self._settings["viewer"]["address"] = f"127.0.0.1:{port}"
        self.url = f"http://127.0.0.1:{port}"

    def kill(self) -> None:
        self._service.kill()


@contextmanager
def another_viewer(live: LiveHouse) -> Iterator[AnotherViewer]:
    """Starts one and ends it."""
    settings = {
        "store": {"folder": str(live.house.folder)},
        "viewer": {
            "address": "127.0.0.1:0",
            "metrics": "127.0.0.1:0",
            "cloud": {"address": f"127.0.0.1:{live.cloud_port}"},
        },
    }
    viewer = AnotherViewer(settings, live.house.folder / "another")
    try:
        yield viewer
    finally:
        viewer.kill()


@pytest.fixture(scope="package")
def live(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[LiveHouse]:
    """With the accounts ``anna`` (administers), and ``vera`` (sees gate and yard-*)."""
    folder = tmp_path_factory.mktemp("live")
    add_user(folder, "anna", Role.ADMIN)
    add_user(folder, "vera", Role.VIEWER, "gate", "yard-*")
    loaded = Bundle.load(bundle, 1)
    with cloud_in_thread(folder, loaded) as (cloud, loop):
        settings = {"cloud": {"address": f"127.0.0.1:{cloud.app.port}"}}
        with running_viewer(folder, settings) as house:
            yield LiveHouse(house, cloud, loop, loaded)


@pytest.fixture(scope="module")
def browser(live: LiveHouse) -> Iterator[Browser]:
    """Begun after the services, and ended before: playwright has an event loop in this thread."""
    with chromium() as browser:
        yield browser
