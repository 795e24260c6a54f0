"""``icm-bench chaos``: real services behind a real, bad network, on disks that fill and by clocks that jump, killed,
frozen, started twice, cut and robbed of their database at random, and nothing may be lost.

A source hands pictures to the edge's frame API and notes which ones it was told are spooled. After every round of
faults both sides are left in peace until all is delivered, and the cloud's files are compared with the notes.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, get_args

import grpc
from tqdm import tqdm

from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.errors import IcmError
from icm.frame_id import FrameId
from icm.rpc.channels import open_channel
from icm.testing.processes import Ports, Service
from icm.testing.scraping import Metrics
from icm.v1 import camera_pb2, camera_pb2_grpc, frame_pb2
from icm_bench.delivery.delivery_checker import DeliveryLog, DeliveryReport, check, stored, undecodable
from icm_bench.delivery.fault_proxy import Direction, FaultProxy
from icm_bench.delivery.moved_clock import MovedClock
from icm_bench.delivery.small_disk import SmallDisk
from icm_bench.report import RESULTS, print_table, write_json

EDGE, CLOUD = "icm-edge", "icm-cloud"
CAMERAS = ("gate", "yard")
WIDTH, HEIGHT = 64, 48
FRAME_SECONDS = 0.05
"""Between two pictures of a camera."""
SUBMIT_SECONDS = 5.0
"""After which the source takes a picture for lost; it may have been spooled all the same."""
PATIENCE_SECONDS = 120.0
"""After which what should have happened by itself has failed."""
REFUSED_STATUS = 2
"""Exit status of a service that does not start."""
DatabaseFault = Literal["gone", "earlier", "damaged"]
FAULTS_A_ROUND = 8
DISK_MEGABYTES = {EDGE: 32, CLOUD: 128}
CLOCK_JUMPS = (-86_400.0, -3_600.0, -5.0, 5.0, 3_600.0, 86_400.0)
"""How far a service's clock may be off, in seconds. Less than the age at which a spool counts as full."""
_ANY_PORT = "127.0.0.1:0"
_POLL_SECONDS = 0.1

CUTS: tuple[tuple[Direction, int], ...] = (
    ("up", 0),
    ("down", 0),
    ("up", 30),
    ("down", 30),
    ("up", 150),
    ("up", 400),
    ("down", 150),
    ("up", 700),
    ("down", 300),
    ("up", 3000),
)
"""Bytes after which a connection is cut, up and down: before and within HTTP/2's preface, the Hello, the Welcome,
records and acknowledgements."""


class Chaos:
    """An edge, a cloud, a bad network between them, and a source. An async context manager.

    Attributes:
        ledger: what the source gave and was told.
        proxy: the network.
        disks: by service, where it keeps its data; folders like any other where no disk can be mounted.
        clocks: by service, what it takes for the time of day.
    """

    def __init__(self, folder: Path, bundle: Path) -> None:
        self.ledger = DeliveryLog()
        self._folder, self._bundle = folder, bundle
        self._cleanup = AsyncExitStack()
        self._services: dict[str, Service] = {}
        self._ports: dict[str, Ports] = {}
        self._turns = {camera: asyncio.Lock() for camera in CAMERAS}
        folder.mkdir(parents=True, exist_ok=True)
        self.disks = {name: SmallDisk(folder / name, size) for name, size in DISK_MEGABYTES.items()}
        self.clocks = {name: MovedClock(folder / f"{name}.clock") for name in DISK_MEGABYTES}

    async def __aenter__(self) -> Chaos:
        async with AsyncExitStack() as stack:
            for disk in self.disks.values():
                disk.mount()
                stack.callback(disk.unmount)
            stack.callback(self._kill)
            await self._start(CLOUD)
            self.proxy = FaultProxy(self._ports[CLOUD].grpc)
            await self.proxy.start()
            stack.push_async_callback(self.proxy.stop)
            await self._start(EDGE)
            channel = open_channel(f"127.0.0.1:{self._ports[EDGE].grpc}", allow_plaintext=False)
            stack.push_async_callback(channel.close)
            stub = camera_pb2_grpc.CameraServiceStub(channel)
            sources = [asyncio.create_task(self._source(stub, camera)) for camera in CAMERAS]
            stack.push_async_callback(_cancel, sources)
            self._cleanup = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._cleanup.aclose()

    async def kill(self, *names: str) -> None:
        """SIGKILL, and a new start at the same address."""
        for name in names:
            self._services[name].kill()
        for name in names:
            await self._start(name)

    async def restart(self, name: str) -> None:
        """SIGTERM, which must end well, and a new start."""
        await self._end(name)
        await self._start(name)

    async def jump(self, name: str, seconds: float) -> None:
        """A service's clock is off by so much from now on."""
        self.clocks[name].jump(seconds)

    async def start_second(self, name: str) -> None:
        """A second service on the same data, as a new pod beside the old one: it must be refused, the first go on."""
        settings = self._settings(name, _ANY_PORT)
        second = Service(name, settings, self._folder / "second", environment=self.clocks[name].environment)
        status = await second.ended()
        if status != REFUSED_STATUS or "is in use by another" not in second.log:
            raise IcmError(f"a second {name} ended with {status} instead of being refused. {second.tail()}")

    async def freeze(self, name: str, seconds: float) -> None:
        """SIGSTOP for a while, as a machine that is suspended; a second service must not take over meanwhile."""
        process = self._services[name].process
        process.send_signal(signal.SIGSTOP)
        try:
            await self.start_second(name)
            await asyncio.sleep(seconds)
        finally:
            process.send_signal(signal.SIGCONT)

    async def replace_database(self, how: DatabaseFault) -> None:
        """SIGKILL of the cloud, and a new start with another database: none, an earlier time's, or a damaged one."""
        database, earlier = self._folder / CLOUD / "cloud.db", self._folder / "earlier.db"
        self._services[CLOUD].kill()
        content = await asyncio.to_thread(database.read_bytes)
        for file in self._folder.glob(f"{CLOUD}/cloud.db*"):
            if file.name in ("cloud.db", "cloud.db-wal", "cloud.db-shm"):
                file.unlink()
        if how == "earlier" and earlier.exists():
            database.write_bytes(await asyncio.to_thread(earlier.read_bytes))
        elif how == "damaged":
            database.write_bytes(content[: len(content) // 2])
        await asyncio.to_thread(earlier.write_bytes, content)
        await self._start(CLOUD)

    async def cut(self, direction: Direction, count: int) -> None:
        """Resets all connections, and the next one after so many bytes."""
        happened = self.proxy.cut_after(direction, count)
        self.proxy.cut()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await happened.wait()

    async def half_open(self, seconds: float) -> None:
        """What is sent goes nowhere for a while; then the connection turns out to be dead."""
        self.proxy.half_open = True
        await asyncio.sleep(seconds)
        self.proxy.half_open = False
        self.proxy.cut()

    async def slow(self, seconds: float, latency: float, bytes_per_second: float) -> None:
        """A thin, long line for a while."""
        self.proxy.latency_seconds, self.proxy.bytes_per_second = latency, bytes_per_second
        await asyncio.sleep(seconds)
        self.proxy.latency_seconds, self.proxy.bytes_per_second = 0.0, None

    async def full_disk(self, name: str, seconds: float = 0.0) -> None:
        """No room left until the service says that it takes no frames, and for so long after that."""
        before = await self._complaints(name)

        async def noticed() -> bool:
            return await self._complaints(name) > before

        self.disks[name].fill()
        # A spool that drains finds room for the next record in what it gave up.
        self.proxy.half_open = name == EDGE
        await self._until(noticed)
        await asyncio.sleep(seconds)
        self.disks[name].free()
        self.proxy.half_open = False
        self.proxy.cut()

    async def _complaints(self, name: str) -> float:
        metrics = await asyncio.to_thread(Metrics.scrape, self._ports[name].metrics)
        if name == CLOUD:
            return metrics.total("icm_cloud_store_failures_total")
        return metrics.total("icm_edge_frames_total", outcome="refused")

    async def progress(self, frames: int = 5) -> None:
        """Waits until the source was told of so many more frames that they are spooled."""
        goal = len(self.ledger.acknowledged) + frames

        async def reached() -> bool:
            return len(self.ledger.acknowledged) >= goal

        await self._until(reached)

    async def settled(self) -> DeliveryReport:
        """Lets the source pause until the edge has delivered everything; says what the cloud then holds."""
        async with self._pause():
            return self._verdict()

    async def finish(self) -> DeliveryReport:
        """Once all is delivered, ends the services in order; says what the cloud holds."""
        async with self._pause():
            await self._end(EDGE)
            await self._end(CLOUD)
            return self._verdict()

    @asynccontextmanager
    async def _pause(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for turn in self._turns.values():
                await stack.enter_async_context(turn)
            await self._until(self._delivered)
            yield

    def _verdict(self) -> DeliveryReport:
        folder = self._folder / CLOUD / "records"
        return replace(check(self.ledger, stored(folder)), undecodable=undecodable(folder))

    async def _delivered(self) -> bool:
        metrics = await asyncio.to_thread(Metrics.scrape, self._ports[EDGE].metrics)
        return metrics.total("icm_edge_spool_bytes") == 0

    async def _until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await condition():
                    for service in self._services.values():
                        service.check()
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            logs = "\n".join(service.tail() for service in self._services.values())
            raise IcmError(f"nothing was delivered for {PATIENCE_SECONDS:.0f} s. {logs}") from None

    async def _source(self, stub: camera_pb2_grpc.CameraServiceAsyncStub, camera: str) -> None:
        """Gives a picture after the other; one that got no answer is not given again."""
        capture_us = 0
        while True:
            async with self._turns[camera]:
                capture_us = max(capture_us + 1, time.time_ns() // 1000)
                request = camera_pb2.SubmitFrameRequest(camera=camera, frame=_picture(capture_us))
                self.ledger.given[camera].add(capture_us)
                with suppress(grpc.aio.AioRpcError):
                    frame = (await stub.SubmitFrame(request, timeout=SUBMIT_SECONDS)).frame
                    self.ledger.acknowledge(FrameId(frame.camera, frame.epoch, frame.sequence), capture_us)
            await asyncio.sleep(FRAME_SECONDS)

    async def _start(self, name: str) -> None:
        known = self._ports.get(name)
        address = f"127.0.0.1:{known.grpc if known else 0}"
        settings = self._settings(name, address)
        environment = self.clocks[name].environment
        service = self._services[name] = Service(name, settings, self._folder, environment=environment)
        self._ports[name] = await service.listening()

    async def _end(self, name: str) -> None:
        service = self._services[name]
        if await service.stop() != 0:
            raise IcmError(f"{name} did not end well. {service.tail()}")

    def _kill(self) -> None:
        for service in self._services.values():
            service.kill()

    def _settings(self, name: str, address: str) -> dict[str, Any]:
        return self._cloud(address) if name == CLOUD else self._edge(address)

    def _cloud(self, address: str) -> dict[str, Any]:
        return {
            "bundle": str(self._bundle.resolve()),
            "threads": 1,
            "ingest": {"address": address},
            "metrics": {"address": _ANY_PORT},
            "store": {"folder": str(self._folder / CLOUD)},
            "archive": {"segment_seconds": 2},
            "detector": {"kind": "none"},
        }

    def _edge(self, address: str) -> dict[str, Any]:
        return {
            "bundle": str(self._bundle.resolve()),
            "threads": 1,
            "cloud": {"address": f"127.0.0.1:{self.proxy.port}"},
            "frame_api": {"address": address},
            "metrics": {"address": _ANY_PORT},
            "spool": {"folder": str(self._folder / EDGE)},
            "cameras": [{"name": name, "source": {"kind": "submitted"}} for name in CAMERAS],
        }


def _picture(capture_us: int) -> frame_pb2.Frame:
    shade = capture_us // 1000 % 256
    raw = frame_pb2.RawImage(width=WIDTH, height=HEIGHT, rgb=bytes((shade, 128, 255 - shade)) * (WIDTH * HEIGHT))
    frame = frame_pb2.Frame(raw=raw)
    frame.capture_time.FromMicroseconds(capture_us)
    return frame


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _fault(chaos: Chaos, dice: random.Random) -> str:
    """Does one thing at random; says what."""
    faults: dict[str, Callable[[], Awaitable[None]]] = {
        "kill edge": lambda: chaos.kill(EDGE),
        "kill cloud": lambda: chaos.kill(CLOUD),
        "kill both": lambda: chaos.kill(EDGE, CLOUD),
        "end edge": lambda: chaos.restart(EDGE),
        "end cloud": lambda: chaos.restart(CLOUD),
        "half-open": lambda: chaos.half_open(dice.uniform(0.5, 10)),
        "slow": lambda: chaos.slow(dice.uniform(2, 5), dice.uniform(0, 0.5), dice.uniform(1_000, 50_000)),
        "cut": lambda: chaos.cut(dice.choice(("up", "down")), round(10 ** dice.uniform(0, 4))),
        "second edge": lambda: chaos.start_second(EDGE),
        "second cloud": lambda: chaos.start_second(CLOUD),
        "edge frozen": lambda: chaos.freeze(EDGE, dice.uniform(1, 20)),
        "cloud frozen": lambda: chaos.freeze(CLOUD, dice.uniform(1, 20)),
        "cloud's database": lambda: chaos.replace_database(dice.choice(get_args(DatabaseFault))),
        "edge's clock": lambda: chaos.jump(EDGE, dice.choice(CLOCK_JUMPS)),
        "cloud's clock": lambda: chaos.jump(CLOUD, dice.choice(CLOCK_JUMPS)),
    }
    if all(disk.mounted for disk in chaos.disks.values()):
        faults["edge's disk full"] = lambda: chaos.full_disk(EDGE, dice.uniform(1, 5))
        faults["cloud's disk full"] = lambda: chaos.full_disk(CLOUD, dice.uniform(1, 5))
    kind = dice.choice([*faults, *("cut",) * 4])
    await faults[kind]()
    return kind


async def _run(minutes: float, seed: int, folder: Path, bundle: Path) -> tuple[list[DeliveryReport], Counter[str]]:
    dice, faults, verdicts = random.Random(seed), Counter[str](), list[DeliveryReport]()
    start = time.monotonic()
    async with Chaos(folder, bundle) as chaos:
        with tqdm(total=round(60 * minutes), unit="s", desc="chaos", leave=False, disable=None) as bar:
            while (passed := time.monotonic() - start) < 60 * minutes:
                bar.update(int(passed) - bar.n)
                for _ in range(FAULTS_A_ROUND):
                    await chaos.progress(dice.randint(1, 20))
                    faults[await _fault(chaos, dice)] += 1
                verdicts.append(await chaos.settled())
                if not verdicts[-1].kept:
                    break
        verdicts.append(await chaos.finish())
    return verdicts, faults


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random faults (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="keep the services' logs here")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="icm-chaos-") as temporary:
        folder = options.folder or Path(temporary)
        try:
            verdicts, faults = asyncio.run(_run(options.minutes, options.seed, folder, options.bundle))
        except IcmError as error:
            print(f"icm-bench chaos: {error}", file=sys.stderr)
            return 1
    print_table(("fault", "times"), sorted(faults.items()))
    last = asdict(verdicts[-1])
    print_table(tuple(last), [tuple(last.values())])
    kept = all(verdict.kept for verdict in verdicts)
    results = {"minutes": options.minutes, "seed": options.seed, "faults": faults, "rounds": len(verdicts), **last}
    print(f"written to {write_json('chaos', results, options.results)}")
    print("every promise was kept" if kept else "A PROMISE WAS BROKEN")
    return 0 if kept else 1
