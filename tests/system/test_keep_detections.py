"""Policy ``keep_detections`` with real processes: what the cloud finds decides what an edge with a full spool keeps."""

from __future__ import annotations

import io
from pathlib import Path

import av
import grpc
from google.protobuf.duration_pb2 import Duration
from PIL import Image

from icm.rpc.channels import open_channel
from icm.v1 import camera_pb2, camera_pb2_grpc, frame_pb2
from tests.system.machine import Machine, file_camera, scrape, stored, submitted_camera, until


async def submit(channel: grpc.aio.Channel, picture: bytes, wait_seconds: int) -> camera_pb2.SubmitFrameResponse:
    return await camera_pb2_grpc.CameraServiceStub(channel).SubmitFrame(
        camera_pb2.SubmitFrameRequest(
            camera="gate",
            frame=frame_pb2.Frame(encoded=picture),
            wait_for_detections=Duration(seconds=wait_seconds),
        )
    )


def first_picture(clip: Path) -> bytes:
    """A PNG of its first frame."""
    with av.open(str(clip)) as container:
        pixels = next(container.decode(video=0)).to_ndarray(format="rgb24")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


async def test_frames_of_the_camera_where_people_were_seen_outlive_an_outage_that_others_do_not(
    machine: Machine, weights: Path, clip: Path, small_clip: Path
) -> None:
    detector = {"kind": "yolo", "weights": str(weights)}
    cloud, ports = await machine.cloud(detector=detector)
    settings = machine.edge_settings(
        ports.grpc, submitted_camera("gate"), file_camera("yard", small_clip, "real_time", loop=True)
    )
    settings["spool"] |= {"policy": "keep_detections", "max_bytes": 20_000, "recent_seconds": 3600.0}
    edge = machine.start("icm-edge", settings)
    edge_ports = await edge.listening()
    people = first_picture(clip)
    async with open_channel(f"127.0.0.1:{edge_ports.grpc}", False) as channel:
        assert (await submit(channel, people, 60)).detections.detections

        async def told() -> bool:
            # The news of one frame's detections comes with the acknowledgement of a later one.
            await submit(channel, people, 0)
            return (await scrape(edge_ports)).total("icm_edge_last_detection_timestamp_seconds", camera="gate") > 0

        await until(told, edge, cloud)
        cloud.kill()
        nothing = await scrape(edge_ports)
        assert nothing.total("icm_edge_last_detection_timestamp_seconds", camera="yard") == 0
        during = [(await submit(channel, people, 0)).frame.sequence for _ in range(2)]

    async def others_went() -> bool:
        return (await scrape(edge_ports)).total(
            "icm_edge_dropped_total", camera="yard", reason="spool_no_detections"
        ) > 0

    await until(others_went, edge)
    cloud, ports = await machine.cloud(port=ports.grpc, detector=detector)

    async def gate_arrived() -> bool:
        return {sequence for camera, _, sequence in stored(machine.folder) if camera == "gate"} >= set(during)

    await until(gate_arrived, edge, cloud)
    dropped = await scrape(edge_ports)
    assert dropped.total("icm_edge_dropped_total", camera="gate") == 0
    assert dropped.total("icm_edge_dropped_total", reason="rejected_reference_missing") == 0
    assert await edge.stop() == 0
    skipped = (await scrape(ports)).total("icm_cloud_records_total", outcome="skipped")
    assert await cloud.stop() == 0
    assert skipped == 0
    assert "skipping" not in cloud.log
    gate = [sequence for camera, _, sequence in stored(machine.folder) if camera == "gate"]
    assert gate == list(range(1, during[-1] + 1))
