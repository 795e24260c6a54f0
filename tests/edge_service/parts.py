"""Small real parts that several tests build on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from edge_service.camera.encoding import Codec, FrameEncoder
from edge_service.rate.control import RateControl, RateTarget
from edge_service.spool.camera_spool import CameraSpool
from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.codec.encoder import CodedFrame
from icm.codec.latents.latents import Latents
from icm.errors import ImageError
from icm.service.clock import ManualClock
from icm.service.health import HealthPart, Problems

CODEC_ID = bytes(range(32))
OTHER_CODEC_ID = bytes(32)


class PlainEncoder:
    """Stands in for the codec where that is not the part under test: the payload tells the quality and a colour.

    Attributes:
        open: while cleared, ``encode`` waits.
    """

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()

    def encode(self, image: NDArray[np.uint8], quality: float, *, intra: bool = False) -> CodedFrame:
        self.open.wait()
        if image.shape[0] == 13:
            raise ImageError("pictures with 13 rows cannot be coded")
        still = np.zeros((1, 1), bool)
        latents = Latents(np.zeros((1, 1, 1), np.int16), np.zeros((1, 1, 1), np.int8), still, 0, 16, 16)
        return CodedFrame(Kind.I, 0, round(quality * 16), 0, image[0, 0].tobytes(), latents)

    def forget(self) -> None:
        """Nothing: each frame is coded alone."""


def plain_codec(encoder: FrameEncoder | None = None) -> Codec:
    """A codec of plain encoders, none of whose frames lean on others."""

    def recode_intra(latents: Latents) -> CodedFrame:
        raise AssertionError("frames of this codec stand alone already")

    return Codec(encoder or PlainEncoder(), recode_intra, CODEC_ID)


def fixed_quality(spool: CameraSpool, quality: float = 3.0) -> RateControl:
    """The rate control of a camera without a target."""
    return RateControl(spool.name, RateTarget(quality), 7.0, lambda: spool.waiting_bytes, 0.0, ManualClock())


class WatchedProblems(Problems):
    """Problems that a test can wait for."""

    def __init__(self) -> None:
        super().__init__()
        self._reported = threading.Event()

    def report(self, part: HealthPart, text: str) -> bool:
        news = super().report(part, text)
        self._reported.set()
        return news

    async def first(self) -> str:
        """The first line, as soon as there is one."""
        assert await asyncio.to_thread(self._reported.wait, 20)
        return self.lines()[0]


def header_of(spool: CameraSpool, codec_id: bytes = CODEC_ID, width: int = 64) -> StreamHeader:
    return StreamHeader(codec_id, spool.name, spool.epoch, 0, width, 48)


def spool_records(spool: CameraSpool, count: int, codec_id: bytes = CODEC_ID, width: int = 64, size: int = 5) -> None:
    """Appends records under a new header."""
    header = header_of(spool, codec_id, width)
    packed: bytes | None = header.pack()
    for _ in range(count):
        sequence = spool.next_sequence
        record = Record(sequence, sequence, Kind.I, 0, 48, 0, bytes(size))
        spool.append(sequence, packed, record.pack(header))
        packed = None


def spool_p_records(spool: CameraSpool, count: int, intra_copies: Collection[int] = (), size: int = 5) -> None:
    """Appends P records under the last header, those of the sequences in ``intra_copies`` with one."""
    header = header_of(spool)
    for _ in range(count):
        sequence = spool.next_sequence
        whole = Record(sequence, sequence, Kind.I, 0, 48, 0, bytes(size))
        intra_copy = whole.pack(header) if sequence in intra_copies else None
        spool.append(sequence, None, replace(whole, kind=Kind.P, reference=1).pack(header), intra_copy)


def write_clip(path: Path, frames: int, width: int = 64, height: int = 48, fps: int = 10) -> None:
    """A clip whose frames get brighter and brighter."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            image = np.full((height, width, 3), 20 + index * 200 // frames, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def write_turned_clip(path: Path) -> None:
    """An MP4 of three frames of 64x48, bright on the left and dark on the right, to be shown turned by 90 degrees
    clockwise.
    """
    with av.open(f"file:{path}", "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(-90)
        image = np.full((48, 64, 3), 240, np.uint8)
        image[:, 32:] = 20
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
