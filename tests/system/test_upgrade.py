"""Ordinary days of whoever runs this: a new pod beside the old one, and a new codec bundle while records wait."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.bundles import with_other_id
from tests.clips import CLIP_FRAMES
from tests.system.machine import Machine, file_camera, scrape, stored, until


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


async def test_records_of_the_bundle_before_are_taken_after_both_sides_have_changed_to_the_next(
    machine: Machine, small_clip: Path, bundle: Path, tmp_path: Path
) -> None:
    other = with_other_id(bundle, tmp_path / "bundles" / "icm-other")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    edge, ports = await machine.edge(port, file_camera("gate", small_clip))

    async def all_spooled() -> bool:
        return (await scrape(ports)).total("icm_edge_frames_total", outcome="spooled") >= CLIP_FRAMES

    await until(all_spooled, edge)
    assert await edge.stop() == 0
    cloud = machine.start("icm-cloud", machine.cloud_settings(port) | {"bundle": str(other), "bundles": [str(bundle)]})
    await cloud.listening()
    settings = machine.edge_settings(port, file_camera("gate", small_clip)) | {"bundle": str(other)}
    edge = machine.start("icm-edge", settings)
    assert await edge.ended() == 0, edge.tail()
    assert await cloud.stop() == 0
    assert sorted(sequence for _, _, sequence in stored(machine.folder)) == list(range(1, 2 * CLIP_FRAMES + 1))
