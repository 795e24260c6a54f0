"""The codec bundles that the cloud reads: a camera may change to another, and what it sent before stays readable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from icm.codec.bundle.loading import Bundle
from icm.errors import CodecMismatchError


class Bundles:
    """Several bundles, by what they decode. Of two that decode the same, the first is used.

    Attributes:
        first: the bundle that the setting ``bundle`` names.
    """

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        """Creates the set of bundles.

        Args:
            bundles: one at least.
        """
        self.first = bundles[0]
        self._bundles = bundles

    @staticmethod
    def load(folders: Sequence[Path], threads: int, device: str) -> Bundles:
        """Loads and verifies every bundle.

        Raises:
            BundleError: one is missing or damaged.
        """
        return Bundles([Bundle.load(folder, threads, device) for folder in folders])

    def load_decoders(self) -> None:
        """Loads all that decodes: what is wrong should be found by the start, not by the first frame, and a folder that
        is replaced later must not give half of another bundle.

        Raises:
            ConfigError: the device is not there.
        """
        for bundle in self._bundles:
            _ = bundle.synthesis, bundle.sparse_synthesis, bundle.hyper_analysis

    def of(self, codec_id: bytes, what: str) -> Bundle:
        """The bundle that decodes a codec's records.

        Args:
            what: was coded, for the error.

        Raises:
            CodecMismatchError: none does.
        """
        for bundle in self._bundles:
            if codec_id in bundle.decodes:
                return bundle
        known = ", ".join(f"{bundle.codec_id.hex()[:12]} (bundle {bundle.name})" for bundle in self._bundles)
        raise CodecMismatchError(
            f"{what} comes with codec {codec_id.hex()[:12] or 'none'}, this cloud reads {known}: add the bundle of that"
            " codec to the cloud's `bundles`, or set both sides' `bundle` to the same one"
        )
