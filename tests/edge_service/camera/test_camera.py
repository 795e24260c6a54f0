from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_service.camera.camera import Camera
from edge_service.settings import CameraSettings, FileSourceSettings
from edge_service.sources import make_source
from edge_service.spool.store import Spool
from icm.codec.encoder import CodedFrame
from icm.service.clock import SystemClock
from tests.edge_service.parts import PlainEncoder, fixed_quality, plain_codec


class BrokenEncoder:
    def encode(self, image: NDArray[np.uint8], quality: float) -> CodedFrame:
        raise MemoryError("no room for the network")


def camera(clip: Path, encoder, spool: Spool, metrics, problems, loop: bool = False) -> Camera:
    source = FileSourceSettings(kind="file", path=clip, pace="fast", loop=loop)
    settings = CameraSettings(name="gate", source=source)
    gate = spool.camera("gate")
    return Camera(
        settings, make_source(source, SystemClock()), plain_codec(encoder), gate,
        fixed_quality(gate), metrics, problems,
        lambda: None,
    )  # fmt: skip


async def test_every_frame_of_a_file_is_spooled_before_it_ends(clip: Path, spool: Spool, metrics, problems) -> None:
    with ThreadPoolExecutor(2) as threads:
        assert await camera(clip, PlainEncoder(), spool, metrics, problems).run(threads)
    assert spool.camera("gate").next_sequence == 11


async def test_an_encoder_that_breaks_ends_the_camera_instead_of_hanging_it(
    clip: Path, spool: Spool, metrics, problems
) -> None:
    with ThreadPoolExecutor(2) as threads, pytest.raises(MemoryError):
        await camera(clip, BrokenEncoder(), spool, metrics, problems, loop=True).run(threads)
