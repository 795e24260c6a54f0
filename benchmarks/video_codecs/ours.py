"""Our codec on a clip, frame after frame as the edge and the cloud do it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.video_codecs.base import CodedClip, Picture
from shared.codec.bundle import Bundle
from shared.codec.codec import Decoder, Encoder
from shared.codec.record import StreamHeader


class OurVideoCodec:
    """Records of one stream, its header included; the wire's framing is counted on top for each record."""

    def __init__(self, bundle: Bundle, *, alone: bool, framing: float, points: tuple[float, ...]) -> None:
        """Args:
        alone: every frame an I record.
        framing: bytes that a record costs on the wire beyond itself.
        points: quality levels.
        """
        self.name = f"{bundle.name}, {'I records only' if alone else 'P records'}"
        self.points = points
        self._bundle, self._alone, self._framing = bundle, alone, framing

    def code(self, clip: Sequence[Picture], fps: int, point: float) -> CodedClip:
        height, width = clip[0].shape[:2]
        header = StreamHeader(self._bundle.codec_id, "clip", 1, 0, width, height)
        encoder, decoder = Encoder(self._bundle), Decoder(self._bundle)
        started = time.perf_counter()
        coded = [encoder.encode(picture, point, alone=self._alone) for picture in clip]
        records = [frame.record(n, n * 1_000_000 // fps).pack(header) for n, frame in enumerate(coded, 1)]
        encoded = time.perf_counter()
        parsed = [frame.record(n, n * 1_000_000 // fps) for n, frame in enumerate(coded, 1)]
        pictures = [decoder.decode(record, width, height) for record in parsed]
        decoded = time.perf_counter()
        sizes = [round(len(record) + self._framing) for record in records]
        sizes[0] += len(header.pack())
        return CodedClip(sizes, pictures, encoded - started, decoded - encoded)
