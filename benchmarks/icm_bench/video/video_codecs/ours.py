"""Our codec on a clip, frame after frame as the edge and the cloud do it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from edge_service.images import scaled
from icm.codec.bitstream.record import StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.codec.encoder import Encoder
from icm_bench.video.video_codecs.base import CodedClip, Picture
from icm_bench.video.wire import by_grpc


class OurVideoCodec:
    """Records of one stream, its header included."""

    def __init__(self, bundle: Bundle, *, points: tuple[str, ...]) -> None:
        """Creates the codec of a bundle.

        Args:
            points: quality levels, or ``LEVEL@SCALE`` with the pictures made smaller first, as rate control does where
                the lowest level takes too many bits. Such pictures are shown at the clip's size.
        """
        self.name = bundle.name
        self.points = points
        self._bundle = bundle

    def code(self, clip: Sequence[Picture], fps: int, point: str) -> CodedClip:
        level, _, scale = point.partition("@")
        height, width = scaled(clip[0], float(scale or 1)).shape[:2]
        header = StreamHeader(self._bundle.codec_id, "clip", 1, 0, width, height)
        encoder, decoder = Encoder(self._bundle), Decoder(self._bundle)
        started = time.perf_counter()
        small = (scaled(picture, float(scale or 1)) for picture in clip)
        coded = [encoder.encode(picture, float(level)) for picture in small]
        records = [frame.record(n, n * 1_000_000 // fps).pack(header) for n, frame in enumerate(coded, 1)]
        encoded = time.perf_counter()
        parsed = [frame.record(n, n * 1_000_000 // fps) for n, frame in enumerate(coded, 1)]
        pictures = [decoder.decode(record, width, height) for record in parsed]
        decoded = time.perf_counter()
        sizes = [len(record) for record in records]
        sizes[0] += len(header.pack())
        on_wire = [round(size + by_grpc(fps)) for size in sizes]
        shown = [_shown(picture, *clip[0].shape[:2]) for picture in pictures]
        return CodedClip(sizes, on_wire, shown, encoded - started, decoded - encoded)


def _shown(picture: Picture, height: int, width: int) -> Picture:
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC), np.uint8)
