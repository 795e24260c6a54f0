"""Video files for tests, with every fault that files of cameras and recorders have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

FRAMES, FPS = 20, 10
_GARBAGE = bytes(range(1, 200))

Stamp = Callable[[int, Any], None]
"""Changes the stamps of a packet, told its number."""


def pictures(count: int = FRAMES) -> list[av.VideoFrame]:
    """Frames of 64x48 that move and are each brighter than the one before."""
    row, column = np.mgrid[0:48, 0:64]
    frames = []
    for number in range(count):
        image = np.stack([(row * 37 + column * 11 + 9 * number) % 120, column, 0 * row + 6 * number], -1).astype(
            np.uint8
        )
        frames.append(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p"))
    return frames


def write(
    path: Path,
    codec: str = "libx264",
    b_frames: bool = False,
    stamp: Stamp | None = None,
    options: dict[str, str] | None = None,
    bad: Sequence[int] = (),
    sound_seconds: float = 0.0,
    fps: Fraction | int = FPS,
) -> Path:
    """A file in the format of its ending.

    Args:
        stamp: changes packets' stamps before they are written.
        bad: numbers of packets that are garbage.
        sound_seconds: length of a sound track beside.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec == "libx265":
            stream.codec_context.options = {"x265-params": "log-level=none:keyint=10:pools=none:frame-threads=1"}
        if codec == "libx264":
            depth = "bframes=3:b-adapt=0:b-pyramid=normal" if b_frames else "bframes=0"
            stream.codec_context.options = {"x264-params": f"{depth}:keyint=10:threads=1"}
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono") if sound_seconds else None
        for number, packet in enumerate(_encoded(stream, fps)):
            if stamp is not None:
                stamp(number, packet)
            container.mux(_garbage(packet) if number in bad else packet)
        if sound is not None:
            silence = np.zeros((1, round(8000 * sound_seconds)), np.int16)
            frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, 0, Fraction(1, 8000)
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path


def _encoded(stream: Any, fps: Fraction | int) -> Iterable[Any]:
    for number, frame in enumerate(pictures()):
        frame.pts, frame.time_base = number, 1 / Fraction(fps)
        yield from stream.encode(frame.reformat(format=stream.pix_fmt))
    yield from stream.encode(None)


def _garbage(packet: Any) -> Any:
    bad = av.Packet(_GARBAGE)
    bad.stream, bad.time_base = packet.stream, packet.time_base
    bad.pts, bad.dts, bad.duration = packet.pts, packet.dts, packet.duration
    return bad


def spoilt(path: Path, *numbers: int) -> Path:
    """The file with all but the first bytes of these packets changed in place."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for number in numbers:
        begin, end = packets[number].pos + 8, packets[number].pos + packets[number].size
        data[begin:end] = bytes(byte ^ 0xA5 for byte in data[begin:end])
    path.write_bytes(data)
    return path


def updated(seconds: float, first: int = 0) -> Stamp:
    """Stamps that are later by so much from a packet on."""

    def move(number: int, packet: Any) -> None:
        if number >= first:
            packet.pts += round(seconds / packet.time_base)
            packet.dts += round(seconds / packet.time_base)

    return move


def in_decoding_order(number: int, packet: Any) -> None:
    """Stamps of showing that tell nothing but the order of decoding."""
    packet.pts = packet.dts


def joined(path: Path, *parts: Path) -> Path:
    """One file of the parts' bytes, as a recorder writes that was switched off and on again."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def cut(path: Path, source: Path, share: float = 0.6) -> Path:
    """The first part of a file, as a copy that broke off."""
    data = source.read_bytes()
    path.write_bytes(data[: round(share * len(data))])
    return path
