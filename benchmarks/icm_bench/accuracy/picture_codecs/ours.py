"""Our codec on single pictures. What counts is the file that ``icm encode`` writes: a stream header and one record."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.codec.encoder import Encoder, quality_units
from icm.codec.transforms.film_grain import Grain
from icm.codec.transforms.networks import Synthesis
from icm_bench.accuracy.picture_codecs.base import Picture

UNFINETUNED = "decoder_base.onnx"
"""In a bundle whose decoder was finetuned, the one before that."""


class OurCodec:
    """A bundle at one quality level, every picture coded alone."""

    slow_to_encode = False

    def __init__(
        self,
        name: str,
        bundle: Bundle,
        quality: float,
        synthesis_file: str = "decoder.onnx",
        *,
        for_detector: bool = False,
    ) -> None:
        """Creates the codec at one quality of a bundle.

        Args:
            name: what the results call it.
            quality: level, 0 to ``bundle.levels - 1``.
            synthesis_file: which of the bundle's synthesis networks shows the pictures.
            for_detector: whether pictures are as detectors see them, or as people do.

        Raises:
            ConfigError: there is no such quality.
            BundleError: the bundle has no such network, or it cannot be loaded.
        """
        self.name, self.setting = name, f"{quality:g}"
        self._bundle, self._quality = bundle, quality
        path = bundle.folder / synthesis_file
        finetuned = synthesis_file == "decoder.onnx"
        self._synthesis = bundle.synthesis if finetuned else _synthesis(path)
        seen = bundle.detector_grain(Kind.I) if for_detector else bundle.grain
        self._grain = seen if finetuned else Grain(())
        analysis = _digest(bundle.folder / "encoder.onnx")
        self.key = f"icm-{bundle.codec_id.hex()[:12]}-{analysis}-{_digest(path)}-{quality_units(bundle, quality)}"
        if deviation := self._grain.deviation(quality_units(bundle, quality)):
            self.key += f"-{deviation:g}"

    def encode(self, image: Picture) -> bytes:
        """See ``PictureCodec.encode``."""
        height, width = image.shape[:2]
        header = StreamHeader(self._bundle.codec_id, "photo", 1, 0, width, height)
        # A new encoder codes every picture alone.
        record = Encoder(self._bundle).encode(image, self._quality).record(1, 0)
        return header.pack() + record.pack(header)

    def decode(self, coded: bytes, width: int, height: int) -> Picture:
        """See ``PictureCodec.decode``."""
        header, length = StreamHeader.parse(coded)
        record = Record.parse_whole(coded[length:], header)
        latents = Decoder(self._bundle).latents(record, width, height)
        inverse_gains = self._bundle.inverse_gains(latents.quality)
        shares = self._bundle.level_shares(latents.quality)
        whole = self._synthesis.pictures(latents.values[np.newaxis], inverse_gains[np.newaxis], shares[np.newaxis])[0]
        return self._grain.over(whole[:height, :width], latents.quality)


def _synthesis(path: Path) -> Synthesis:
    return Synthesis(path, 0, "cpu")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
