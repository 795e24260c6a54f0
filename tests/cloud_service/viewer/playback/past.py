"""A camera's past as real services leave it: an encoder's records, sent to a cloud that stores, detects and archives.

A bright square wanders over a dark picture, and a detector finds it, so that everybody can work out where its box is.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, func, select

from cloud_service.app import App
from cloud_service.database.opening import attach_database
from cloud_service.database.sightings_tables import BoxesRow
from cloud_service.database.tables import VideoSegmentRow
from cloud_service.database.usage import Tier
from cloud_service.detection import Detection
from cloud_service.retention.items import Planned, Reason
from cloud_service.retention.view import DatabaseView
from icm.codec.bitstream.record import Record, StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import Encoder
from icm.rpc.channels import open_channel
from tests.cloud_service.running import running_cloud
from tests.cloud_service.uplink import Uplink
from tests.cloud_service.viewer.house import House, running_viewer

START_US = 1_790_000_000_000_000
"""2026-09-21T14:13:20Z."""
WIDTH, HEIGHT, SIDE = 256, 144, 48
FRAME_US = 500_000
SEGMENT_FRAMES = 20
HOLE_US = 30_000_000
BEFORE, AFTER = 120, 80
"""Frames before the hole, and behind it: a minute, and forty seconds."""
COUNTS = {"gate": BEFORE + AFTER, "yard": 100}
"""Frames of each camera, in segments that are closed; one more comes 20 seconds later, which closes the last."""
_CREDIT = 64
"""Records that the cloud takes before they are acknowledged."""
_PATIENCE_SECONDS = 120


class SquareDetector:
    """Finds the bright square as a ``person``, and where it stands on the right half, a ``car`` too."""

    model = "square"
    batch = 8

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        return [self._look(image) for image in images]

    def _look(self, image: NDArray[np.uint8]) -> list[Detection]:
        rows, columns = np.nonzero(image.mean(axis=2) > 140)
        if not len(rows):
            return []
        box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
        found = [Detection("person", 0.9, *box)]
        return [*found, Detection("car", 0.7, *box)] if box[0] > WIDTH / 2 else found


def capture_us(number: int) -> int:
    """When frame ``number`` was captured; the first is 0."""
    return START_US + number * FRAME_US + (HOLE_US if number >= BEFORE else 0)


def square(number: int) -> tuple[int, int]:
    """Where the square of a frame is: its left and top edge. It moves every two frames, in steps of the codec's."""
    step = number // 2
    return 16 * (step % 13), 16 * ((step // 3) % 6)


def picture(number: int) -> NDArray[np.uint8]:
    """uint8[HEIGHT, WIDTH, 3]."""
    image = np.full((HEIGHT, WIDTH, 3), 45, np.uint8)
    image[::16], image[:, ::16] = 60, 60
    left, top = square(number)
    image[top : top + SIDE, left : left + SIDE] = 230
    return image


@dataclass(frozen=True)
class Past:
    """What runs.

    Attributes:
        house: the viewer.
        folder: of the cloud.
        app: the cloud.
    """

    house: House
    folder: Path
    app: App

    def database(self) -> Engine:
        """The cloud's."""
        return attach_database(f"sqlite:///{self.folder / 'cloud.db'}")

    def delete(self, camera: str, first: int, end: int, *tiers: Tier) -> None:
        """Has retention delete what a camera's segments between two frames have in these tiers."""
        database = self.database()
        try:
            view = DatabaseView(database, self.folder)
            going = [
                Planned(item, Reason.MAX_AGE, "records older than 30 days")
                for tier in tiers
                for item in view.page(tier, camera, None, None)
                if capture_us(first) <= item.first_capture_us < capture_us(end)
            ]
        finally:
            database.dispose()
        assert len(going) == len(tiers) * (end - first) // SEGMENT_FRAMES
        self.app._retention._deleter.delete(going, "retention", time.time_ns() // 1000)


@contextmanager
def running_past(folder: Path, bundle: Path) -> Iterator[Past]:
    """Starts a cloud in a thread, fills it, and starts a viewer beside it."""
    loop, ready, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    apps: list[App] = []
    loaded = Bundle.load(bundle, threads=1)

    async def serve() -> None:
        flags = {"archive.segment_seconds": 10.0}
        async with running_cloud(folder, loaded, SquareDetector(), **flags) as cloud:
            apps.append(cloud.app)
            ready.set()
            await ended.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(60)
        port = apps[0].port
        asyncio.run(_deliver(port, loaded))
        _wait_until_archived(folder)
        with running_viewer(folder, {"cloud": {"address": f"127.0.0.1:{port}"}}) as house:
            past = Past(house, folder, apps[0])
            past.delete("yard", 0, 20, Tier.RECORDS, Tier.VIDEO, Tier.THUMBNAILS)
            past.delete("yard", 20, 40, Tier.VIDEO)
            yield past
    finally:
        if loop.is_running():
            loop.call_soon_threadsafe(ended.set)
        thread.join()


async def _deliver(port: int, bundle: Bundle) -> None:
    encoder = Encoder(bundle)
    coded = [encoder.encode(picture(number), 4) for number in range(BEFORE + AFTER + 1)]
    channel = open_channel(f"127.0.0.1:{port}", allow_plaintext=False)
    try:
        for camera, count in COUNTS.items():
            records = [coded[number].record(number + 1, capture_us(number)) for number in range(count)]
            # One more, late enough to close the segment before it.
            records.append(coded[count].record(count + 1, capture_us(count) + 20_000_000))
            header = StreamHeader(bundle.codec_id, camera, 7, START_US, WIDTH, HEIGHT)
            await _send(Uplink(channel), header, records)
    finally:
        await channel.close()


async def _send(uplink: Uplink, header: StreamHeader, records: Sequence[Record]) -> None:
    await uplink.hello(header)
    for first in range(0, len(records), _CREDIT):
        batch = records[first : first + _CREDIT]
        await uplink.send(header, batch, header)
        await uplink.until(batch[-1].sequence)
    await uplink.close()


def _wait_until_archived(folder: Path) -> None:
    """Until all closed segments have their videos, and boxes and sightings."""
    database = attach_database(f"sqlite:///{folder / 'cloud.db'}")
    wanted = sum(COUNTS.values()) // SEGMENT_FRAMES
    until = time.monotonic() + _PATIENCE_SECONDS
    try:
        while True:
            with database.connect() as connection:
                counts = [
                    connection.execute(select(func.count()).select_from(row)).scalar_one()
                    for row in (VideoSegmentRow, BoxesRow)
                ]
            if min(counts) >= wanted:
                return
            assert time.monotonic() < until, f"{counts} of {wanted} segments are there"
            time.sleep(0.1)
    finally:
        database.dispose()


def iso(us: float) -> str:
    """A time as addresses have it."""
    return f"{np.datetime64(int(us), 'us')}Z"


def at(number: float) -> str:
    """The time of a frame, as addresses have it."""
    whole = int(number)
    return iso(capture_us(whole) + (number - whole) * FRAME_US)


def window(first: int, end: int) -> str:
    """The window from a frame on and before another, as a query."""
    return f"from={at(first)}&to={at(end)}"


def get(client: httpx.Client, path: str, **headers: str) -> httpx.Response:
    """Data, as scripts ask for it."""
    return client.get(path, headers={"accept": "*/*", **headers})
