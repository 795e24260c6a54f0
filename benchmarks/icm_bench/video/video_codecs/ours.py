"""Our codec on a clip, frame after frame as the edge and the cloud do it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from edge_service.images import scaled
from icm.atomic_file import write_atomically
from icm.codec.bitstream.record import Record, StreamHeader, parse_stream
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.codec.encoder import Encoder
from icm_bench.video.video_codecs.base import CodedClip, Picture
from icm_bench.video.wire import by_grpc


class OurVideoCodec:
    """Records of one stream, its header included."""

    def __init__(self, bundle: Bundle, *, points: tuple[str, ...], kept: Path | None = None) -> None:
        """Creates the codec of a bundle.

        Args:
            points: quality levels, or ``LEVEL@SCALE`` with the pictures made smaller first, as rate control does where
                the lowest level takes too many bits. Such pictures are shown at the clip's size.
            kept: folder where streams that were coded once are read from again, with the time that it took; another
                decoder of the same codec is then measured without coding anew. None to keep nothing.
        """
        self.name = bundle.name
        self.points = points
        self._bundle, self._kept = bundle, kept

    def code(self, clip: Sequence[Picture], fps: int, point: str) -> CodedClip:
        scale = float(point.partition("@")[2] or 1)
        height, width = scaled(clip[0], scale).shape[:2]
        header = StreamHeader(self._bundle.codec_id, "clip", 1, 0, width, height)
        records, encode_seconds = self._coded(clip, fps, point, header)
        decoder = Decoder(self._bundle)
        started = time.perf_counter()
        pictures = [decoder.decode(record, width, height, for_detector=True) for record in records]
        decoded = time.perf_counter()
        sizes = [len(record.pack(header)) for record in records]
        sizes[0] += len(header.pack())
        on_wire = [round(size + by_grpc(fps)) for size in sizes]
        shown = [_shown(picture, *clip[0].shape[:2]) for picture in pictures]
        return CodedClip(sizes, on_wire, shown, encode_seconds, decoded - started)

    def _coded(self, clip: Sequence[Picture], fps: int, point: str, header: StreamHeader) -> tuple[list[Record], float]:
        """The clip's records and how many seconds they took, measured now or when they were kept."""
        file = None if self._kept is None else self._kept / f"{self._key(clip, fps, point)}.icm"
        if file is not None and file.exists():
            return list(parse_stream(file.read_bytes())[1]), json.loads(file.with_suffix(".json").read_text())
        level, _, scale = point.partition("@")
        encoder = Encoder(self._bundle)
        started = time.perf_counter()
        small = (scaled(picture, float(scale or 1)) for picture in clip)
        coded = [encoder.encode(picture, float(level)) for picture in small]
        seconds = time.perf_counter() - started
        records = [frame.record(n, n * 1_000_000 // fps) for n, frame in enumerate(coded, 1)]
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file.with_suffix(".json"), json.dumps(seconds))
            write_atomically(file, header.pack() + b"".join(record.pack(header) for record in records))
        return records, seconds

    def _key(self, clip: Sequence[Picture], fps: int, point: str) -> str:
        digest = hashlib.sha256(self._bundle.codec_id + (self._bundle.folder / "encoder.onnx").read_bytes())
        digest.update(f"{fps} {point}".encode())
        for picture in clip:
            digest.update(picture.tobytes())
        return digest.hexdigest()[:24]


def _shown(picture: Picture, height: int, width: int) -> Picture:
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC), np.uint8)
