"""``icm-bench viewer-wall``: what a wall of cameras costs the viewer and the cloud, by how many people look at it.

The viewer is the real one. The cloud is its live view alone, to which pictures of a clip are shown as the pipeline
would: what decoding and detection take, a wall does not change. Those who look are WebSockets in this process, which
acknowledge each message as a page does. The peer compresses each camera's picture in the same size for everybody anew,
with the same library, and does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from cloud_service.database.opening import open_database
from cloud_service.live.shown import jpeg_of
from cloud_service.viewer.accounts.book import AccountBook
from cloud_service.viewer.accounts.records import Scope, User, new_token
from cloud_service.viewer.accounts.roles import EVERY_CAMERA, Role
from cloud_service.viewer.live.relay import width_for
from icm.errors import IcmError
from icm.testing import assets
from icm.testing.processes import Service
from icm_bench.report import RESULTS, print_rows, write_json
from icm_bench.viewer.live_server import pictures_of

_TICKS = os.sysconf("SC_CLK_TCK")
_SETTLE_SECONDS = 3.0
_ACKS_A_SECOND = 10.0
_PEERS_PICTURES = 64


class Watching:
    """One who looks at all cameras.

    Attributes:
        frames: messages with a picture that came.
        bytes: of all messages that came.
    """

    def __init__(self, tiles: dict[str, float]) -> None:
        self._tiles = tiles
        self.frames = self.bytes = 0

    async def run(self, url: str, token: str) -> None:
        headers = {"authorization": f"Bearer {token}"}
        async with connect(url, additional_headers=headers, compression=None, proxy=None) as socket:
            await socket.send(json.dumps({"watch": self._tiles}))
            await self._take(socket)

    async def _take(self, socket: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        drawn = acknowledged = 0
        due = loop.time()
        async for message in socket:
            assert isinstance(message, bytes)
            length = int.from_bytes(message[:4], "big")
            self.bytes += len(message)
            self.frames += len(message) > 4 + length
            drawn = json.loads(message[4 : 4 + length])["number"]
            # As the page does: several at once, and in time for the window.
            if loop.time() >= due or drawn - acknowledged >= 8:
                acknowledged, due = drawn, loop.time() + 1 / _ACKS_A_SECOND
                await socket.send(json.dumps({"ack": drawn}))


def run(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    load_before = round(os.getloadavg()[0], 1)
    clip = options.clip or assets.fetch_clip(assets.CACHE, print)
    width = width_for(options.tile)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="icm-wall-") as place:
        folder = Path(place)
        token = _account(folder)
        with _live_server(clip, folder, options) as (port, cloud), _viewer(folder, port) as (url, viewer):
            for people in [0, *map(int, options.people.split(","))]:
                rows.append(asyncio.run(_measured(people, url, token, cloud, viewer, options)))
                print_rows(rows)
                print()
    idle = rows[0]["cloud_cores"]
    for row in rows:
        row["wall_cores"] = round(row["viewer_cores"] + row["cloud_cores"] - idle, 3)
    print_rows(rows)
    figures = {
        "clip": clip.stem,
        "cameras": options.cameras,
        "fps": options.fps,
        "coded_width": options.width,
        "shown_width": width,
        "jpeg_ms": _jpeg_ms(clip, options.width, width),
        "load_before": load_before,
        "seconds": options.seconds,
    }
    figures["peer_cores_a_person"] = round(figures["jpeg_ms"] * options.cameras * options.fps / 1000, 3)
    print(f"written to {write_json('viewer_wall', figures | {'rows': rows}, options.results)}")
    return 0


async def _measured(
    people: int, url: str, token: str, cloud: int, viewer: int, options: argparse.Namespace
) -> dict[str, Any]:
    """What so many people cost."""
    tiles = {f"camera-{number:02}": options.tile for number in range(options.cameras)}
    watching = [Watching(tiles) for _ in range(people)]
    running = [asyncio.create_task(one.run(url, token)) for one in watching]
    try:
        await _sleep(_SETTLE_SECONDS, running)
        before = [_cpu_seconds(process) for process in (cloud, viewer)]
        frames, size, begun = sum(of.frames for of in watching), sum(of.bytes for of in watching), time.monotonic()
        await _sleep(options.seconds, running)
        took = time.monotonic() - begun
        cores = [(_cpu_seconds(process) - at) / took for process, at in zip((cloud, viewer), before, strict=True)]
        frames, size = sum(of.frames for of in watching) - frames, sum(of.bytes for of in watching) - size
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return {
        "people": people,
        "frames_a_second_and_person": round(frames / took / max(people, 1), 1),
        "kilobytes_a_second_and_person": round(size / took / max(people, 1) / 1000),
        "cloud_cores": round(cores[0], 3),
        "viewer_cores": round(cores[1], 3),
    }


async def _sleep(seconds: float, running: Sequence[asyncio.Task[None]]) -> None:
    if not running:
        await asyncio.sleep(seconds)
        return
    done, _ = await asyncio.wait(running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
        raise IcmError("the viewer closed a connection")


def _account(folder: Path) -> str:
    """Makes a database and an account; returns its token."""
    open_database(f"sqlite:///{folder / 'cloud.db'}").dispose()
    book = AccountBook(folder / "viewer")
    book.add_user(User("bench", Role.VIEWER, EVERY_CAMERA, "", 1))
    token, text = new_token(name="bench", owner="bench", scopes=(Scope.READ,), cameras=EVERY_CAMERA, now_us=1)
    book.add_token(token)
    return text


@contextmanager
def _live_server(clip: Path, folder: Path, options: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """Gives its port and process."""
    command = [sys.executable, "-m", "icm_bench.viewer.live_server", clip, folder, options.cameras, options.fps]
    with subprocess.Popen([*map(str, command), str(options.width)], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line:
                raise IcmError("the live server did not start; what it said stands above")
            yield int(line), server.pid
        finally:
            server.kill()


@contextmanager
def _viewer(folder: Path, port: int) -> Iterator[tuple[str, int]]:
    """Gives the address of its WebSocket, and its process."""
    settings = {
        "store": {"folder": str(folder)},
        "viewer": {
            "address": "127.0.0.1:0",
            "metrics": "127.0.0.1:0",
            "cloud": {"address": f"127.0.0.1:{port}"},
        },
    }
    service = Service("icm-cloud", settings, folder, command="viewer")
    try:
        yield f"ws://127.0.0.1:{asyncio.run(service.listening()).grpc}/live", service.process.pid
    finally:
        service.kill()


def _jpeg_ms(clip: Path, coded: int, shown: int) -> float:
    """What a picture costs to compress, in milliseconds of a CPU."""
    pictures = pictures_of(clip, coded)
    begun = time.process_time()
    for number in range(_PEERS_PICTURES):
        jpeg_of(pictures[number % len(pictures)], shown)
    return round((time.process_time() - begun) / _PEERS_PICTURES * 1000, 2)


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="icm-bench viewer-wall", description=__doc__)
    parser.add_argument("--cameras", type=int, default=16)
    parser.add_argument("--fps", type=float, default=5.0, help="frames a second of each (default: %(default)s)")
    parser.add_argument("--people", default="1,4,16", help="how many look, one run each (default: %(default)s)")
    parser.add_argument("--width", type=int, default=768, help="columns of the coded pictures (default: %(default)s)")
    parser.add_argument("--tile", type=int, default=480, help="columns of a tile on the screen (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each run (default: %(default)s)")
    parser.add_argument("--clip", type=Path, help="a video file of your own (default: the demo's)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)
