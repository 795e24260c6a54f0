"""Ordinary days of whoever runs this: a new pod beside the old one, and a new codec bundle while records wait."""

from __future__ import annotations

import socket
from datetime import timedelta
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from cloud_service.cli import main as icm_cloud
from cloud_service.database.opening import attach_database
from cloud_service.events.store import EventStore
from icm.client.cloud import AsyncCloudClient
from icm.codec.bundle.shipped import DEFAULT_BUNDLE, SHIPPED_BUNDLES
from icm.command.cli import main as icm
from icm.testing.processes import Service
from tests.bundles import with_other_id
from tests.clips import CLIP_FRAMES
from tests.cloud_service.redetection.parts import weights_in
from tests.system.machine import Machine, file_camera, scrape, stored, until

HOUR = timedelta(hours=1)


async def test_a_second_cloud_on_the_store_is_refused_and_costs_nothing_that_was_acknowledged(
    machine: Machine, small_clip: Path
) -> None:
    """Nor does what comes then: the first is killed before its segment is sealed, and started again."""
    cloud, ports = await machine.cloud()
    edge, _ = await machine.edge(ports.grpc, file_camera("gate", small_clip, pace="real_time"))

    async def some_persisted() -> bool:
        return (await scrape(ports)).total("icm_cloud_records_total", outcome="persisted") >= CLIP_FRAMES // 3

    await until(some_persisted, cloud)
    second = machine.start("icm-cloud", machine.cloud_settings())
    assert await second.ended() == 2
    assert (
        f"{machine.folder}/cloud/records is in use by another icm-cloud (process {cloud.process.pid} on" in second.log
    )
    assert await edge.ended() == 0, edge.tail()
    cloud.kill()
    cloud, _ = await machine.cloud(port=ports.grpc)
    assert await cloud.stop() == 0
    assert sorted(sequence for _, _, sequence in stored(machine.folder)) == list(range(1, CLIP_FRAMES + 1))


@pytest.mark.parametrize("before", [*SHIPPED_BUNDLES[1:], None], ids=lambda folder: folder.name if folder else "own")
async def test_records_of_the_bundle_before_are_taken_after_both_sides_have_changed_to_the_next(
    machine: Machine, small_clip: Path, before: Path | None, tmp_path: Path
) -> None:
    """Of one that ships without a setting, of one's own with `bundles`."""
    bundles = [] if before else [str(with_other_id(DEFAULT_BUNDLE, tmp_path / "bundles" / "icm-other"))]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    settings = machine.edge_settings(port, file_camera("gate", small_clip))
    edge = machine.start("icm-edge", settings | {"bundle": str(before or bundles[0])})
    ports = await edge.listening()

    async def all_spooled() -> bool:
        return (await scrape(ports)).total("icm_edge_frames_total", outcome="spooled") >= CLIP_FRAMES

    await until(all_spooled, edge)
    assert await edge.stop() == 0
    cloud = machine.start("icm-cloud", machine.cloud_settings(port) | {"bundles": bundles})
    await cloud.listening()
    edge = machine.start("icm-edge", settings)
    assert await edge.ended() == 0, edge.tail()
    assert await cloud.stop() == 0
    assert sorted(sequence for _, _, sequence in stored(machine.folder)) == list(range(1, 2 * CLIP_FRAMES + 1))


def frames_of(clip: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(clip)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


class Upgrade:
    """A cloud that detects, and edges of one camera each, with whatever bundles.

    Attributes:
        store: the cloud's folder.
    """

    def __init__(self, machine: Machine, clip: Path) -> None:
        self.store = machine.folder / "cloud"
        self._machine, self._clip = machine, clip
        live = {"kind": "onnx", "weights": str(weights_in(machine.folder, "live.onnx", "dog"))}
        self._settings = machine.cloud_settings(detector=live)
        del self._settings["bundle"]

    async def cloud(self, **settings: str) -> tuple[Service, int]:
        """A cloud with these settings beside the usual ones, among which is no bundle; and its port."""
        service = self._machine.start("icm-cloud", self._settings | settings)
        return service, (await service.listening()).grpc

    async def deliver(self, port: int, camera: str, bundle: Path) -> None:
        """Delivers the clip."""
        settings = self._machine.edge_settings(port, file_camera(camera, self._clip))
        spool = {"folder": str(self._machine.folder / f"edge-of-{camera}")}
        edge = self._machine.start("icm-edge", settings | {"bundle": str(bundle), "spool": spool})
        assert await edge.ended() == 0, edge.tail()


def looked_at(store: Path, camera: str, model: str) -> list[int]:
    """Sequences of the frames in which a model looked for objects."""
    database = attach_database(f"sqlite:///{store / 'cloud.db'}")
    found = EventStore(database).search(camera, limit=1000)
    database.dispose()
    return sorted(event.key.sequence for event in found if event.model.startswith(model))


@pytest.mark.parametrize("before", SHIPPED_BUNDLES[1:], ids=lambda folder: folder.name)
async def test_archive_and_edge_of_the_bundle_before_need_no_setting_when_the_default_has_changed(
    machine: Machine, small_clip: Path, before: Path
) -> None:
    """gate was archived before, and its edge goes on as it was; yard's edge came after."""
    upgrade, source = Upgrade(machine, small_clip), frames_of(small_clip)
    cloud, port = await upgrade.cloud(bundle=str(before))
    await upgrade.deliver(port, "gate", before)
    assert await cloud.stop() == 0

    cloud, port = await upgrade.cloud()
    await upgrade.deliver(port, "gate", before)
    await upgrade.deliver(port, "yard", DEFAULT_BUNDLE)
    case = machine.folder / "case.zip"
    async with AsyncCloudClient(f"127.0.0.1:{port}") as client:
        cameras = {camera.name: camera for camera in await client.cameras()}
        assert {name: camera.records for name, camera in cameras.items()} == {"gate": 60, "yard": 30}
        for name, camera in cameras.items():
            assert camera.first is not None
            assert camera.last is not None
            start, end = camera.first, camera.last + timedelta(milliseconds=1)
            for number, stored_frame in enumerate(await client.frames(name, start, end)):
                picture = (await client.frame(stored_frame.frame)).image
                assert np.abs(picture.astype(int) - source[number % CLIP_FRAMES]).mean() < 12
            with (machine.folder / f"{name}.mp4").open("wb") as file:
                clip = await client.clip(name, start, end, file, decoder="base")
            assert (clip.frames, clip.gaps) == (camera.records, ())
            assert len(frames_of(machine.folder / f"{name}.mp4")) == camera.records
        await client.export(case, list(cameras), start - HOUR, end, case="an upgrade", by="Ann")
    assert await cloud.stop() == 0
    assert icm(["verify", str(case)]) == 0
    assert icm_cloud(["verify", "--store", str(upgrade.store)]) == 0

    weights = ["--weights", str(weights_in(machine.folder))]
    place = ["--set", f"store.folder={upgrade.store}", "--set", "detector.kind=none"]
    assert icm_cloud(["redetect", "--cameras", "gate,yard", *weights, *place]) == 0
    cloud, port = await upgrade.cloud()

    async def all_looked_at() -> bool:
        return all(
            looked_at(upgrade.store, name, model) == list(range(1, camera.records + 1))
            for name, camera in cameras.items()
            for model in ("live", "cat@")
        )

    await until(all_looked_at, cloud)
    assert await cloud.stop() == 0
