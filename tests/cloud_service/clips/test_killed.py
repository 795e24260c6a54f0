"""A cloud that is killed while it renders: the next one has what was whole, and makes the clip."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path

import icm
from icm.codec.bundle.loading import Bundle
from icm.rpc.channels import open_channel
from icm.testing.processes import Service
from icm.v1.clip_pb2 import CLIP_DECODER_BASE
from icm.v1.clip_pb2_grpc import ClipServiceStub
from tests.cloud_service.clips.recorded import at, chain, numbers, request, shown
from tests.cloud_service.clips.test_cli import time
from tests.cloud_service.parts import coded_header
from tests.cloud_service.running import running_cloud

FRAMES = 60
ENDS = 6
"""Seconds of frames."""


async def test_what_was_rendered_survives_a_sigkill_and_the_rest_is_rendered_after_it(
    tmp_path: Path, loaded: Bundle, bundle: Path
) -> None:
    folder = tmp_path / "cloud"
    async with running_cloud(folder, loaded, None) as cloud:
        await cloud.deliver(coded_header(loaded), chain(loaded, FRAMES))
    settings = {
        "bundle": str(bundle),
        "ingest": {"address": "127.0.0.1:0"},
        "metrics": {"address": "127.0.0.1:0"},
        "store": {"folder": str(folder)},
        "archive": {"segment_seconds": 1},
        "detector": {"kind": "none"},
    }
    service = Service("icm-cloud", settings, tmp_path)
    try:
        ports = await service.listening()
        async with open_channel(f"127.0.0.1:{ports.grpc}", allow_plaintext=False, tls=None) as channel:
            call = ClipServiceStub(channel).ReadClip(request(at(0), at(ENDS), decoder=CLIP_DECODER_BASE))
            await call.read()  # a piece is whole
            service.kill()
            await service.ended()
    finally:
        service.kill()
    before = {path.name: path.read_bytes() for path in (folder / "rendered").glob("*.piece")}
    assert before
    service = Service("icm-cloud", settings, tmp_path)
    try:
        ports = await service.listening()
        assert {path.name for path in (folder / "rendered").iterdir()} == set(before)
        file = BytesIO()
        async with icm.AsyncCloudClient(f"127.0.0.1:{ports.grpc}") as client:
            clip = await client.clip("gate", time(0), time(ENDS), file, decoder="base")
        assert (clip.frames, clip.gaps) == (FRAMES, ())
        assert shown(file.getvalue()).frames == numbers(1, FRAMES + 1)
        pieces = {path.name: path.read_bytes() for path in (folder / "rendered").iterdir()}
        assert len(pieces) == ENDS
        assert {name: pieces[name] for name in before} == before
        assert await asyncio.wait_for(service.stop(), 60) == 0
    finally:
        service.kill()
