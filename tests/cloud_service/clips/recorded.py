"""A camera whose frames tell by the brightness of one block which they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO

import av
import numpy as np

from icm.codec.bitstream.record import Record
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import Encoder
from icm.v1 import clip_pb2 as pb
from tests.cloud_service.parts import FRAME_US, HEIGHT, START_US, WIDTH
from tests.cloud_service.running import RunningCloud

_STEP, _LEVELS = 8, 26


def level(number: int) -> int:
    return 20 + _STEP * (number % _LEVELS)


@cache
def chain(bundle: Bundle, count: int, first: int = 1, start_us: int = START_US, width: int = WIDTH) -> list[Record]:
    """An I record and P records after it of 10 fps, each of a picture in which one block is as bright as no other."""
    encoder = Encoder(bundle)
    records = []
    for number in range(first, first + count):
        picture = np.full((HEIGHT, width, 3), 110, np.uint8)
        picture[:16, :16] = level(number)
        records.append(encoder.encode(picture, 5).record(number, start_us + (number - 1) * FRAME_US))
    return records


@dataclass(frozen=True)
class Shown:
    """What a player shows of a file.

    Attributes:
        frames: which each frame is, modulo the number of levels.
        times: when it is shown, in seconds.
        seconds: length of the file.
        size: of its pictures.
    """

    frames: list[int]
    times: list[float]
    seconds: float
    size: tuple[int, int]


def shown(data: bytes) -> Shown:
    with av.open(BytesIO(data), "r") as container:
        pictures = list(container.decode(video=0))
        means = [float(of.to_ndarray(format="rgb24")[4:12, 4:12].mean()) for of in pictures]
        return Shown(
            [round((mean - 20) / _STEP) % _LEVELS for mean in means],
            [float(of.time or 0.0) for of in pictures],
            (container.duration or 0) / 1e6,
            (pictures[0].width, pictures[0].height),
        )


def numbers(first: int, end: int) -> list[int]:
    """What ``shown`` says of the frames from ``first`` on and before ``end``."""
    return [number % _LEVELS for number in range(first, end)]


def at(seconds: float) -> int:
    """So long after the first frame, microseconds since 1970."""
    return START_US + round(seconds * 1e6)


def request(
    from_us: int, to_us: int, *, camera: str = "gate", decoder: pb.ClipDecoder = pb.CLIP_DECODER_FINETUNED,
    boxes: bool = False,
) -> pb.ReadClipRequest:  # fmt: skip
    asked = pb.ReadClipRequest(camera=camera, decoder=decoder, boxes=boxes)
    getattr(asked, "from").FromMicroseconds(from_us)
    asked.to.FromMicroseconds(to_us)
    return asked


@dataclass(frozen=True)
class Answer:
    """A whole answer to ReadClip."""

    data: bytes
    info: pb.ClipInfo
    gaps: Sequence[pb.ClipGap]
    progress: Sequence[float]


async def read_clip(cloud: RunningCloud, asked: pb.ReadClipRequest) -> Answer:
    """Asks for a clip, and checks that its pieces come in the order that the contract says."""
    call = cloud.clips.ReadClip(asked, timeout=60)
    info, data, progress = None, b"", []
    async for answer in call:
        match answer.WhichOneof("piece"):
            case "progress":
                assert info is None
                progress.append(answer.progress.done.ToMicroseconds() / answer.progress.total.ToMicroseconds())
            case "info":
                assert info is None
                info = answer.info
            case "data":
                assert info is not None
                data += answer.data
    assert info is not None
    assert info.bytes == len(data)
    assert progress == sorted(progress)
    metadata = dict(await call.trailing_metadata() or ())
    gaps = pb.ClipGaps.FromString(metadata.get("icm-clip-gaps-bin", b""))
    return Answer(data, info, gaps.gaps, progress)
