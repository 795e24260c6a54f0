"""A codec bundle in memory: the networks, tables and entropy models of its files."""

from __future__ import annotations

from copy import copy
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm.codec.bitstream.record import Kind
from icm.codec.bundle.manifest import (
    CONTEXT,
    FIELD_TABLES,
    MOTION,
    MOTION_TABLES,
    SEARCH,
    SYNTHESIS,
    TEMPORAL,
    UNFINETUNED,
    Manifest,
    read_manifest,
)
from icm.codec.bundle.verification import check_file, check_files, check_golden
from icm.codec.entropy.context import ContextModel
from icm.codec.entropy.integer_network import IntegerNetwork
from icm.codec.entropy.residuals import DifferenceModel
from icm.codec.entropy.tables import Tables
from icm.codec.latents.latents import QUALITY_STEPS
from icm.codec.motion.coding import FieldTables
from icm.codec.motion.linear_path import LinearPath, LinearSynthesis
from icm.codec.motion.model import MotionModel
from icm.codec.payload.inter import InterEntropyModel
from icm.codec.payload.intra import IntraEntropyModel
from icm.codec.transforms.film_grain import Grain
from icm.codec.transforms.incremental import AnalysisLayers, SynthesisLayers
from icm.codec.transforms.networks import Analysis, HyperAnalysis, Synthesis
from icm.codec.transforms.sparse.analysis import SparseAnalysis
from icm.codec.transforms.sparse.gated_analysis import SparseGatedAnalysis
from icm.codec.transforms.sparse.gated_block import is_gated
from icm.codec.transforms.sparse.gated_synthesis import SparseGatedSynthesis
from icm.codec.transforms.sparse.synthesis import SparseSynthesis
from icm.errors import BundleError


class Bundle:
    """A verified bundle with its networks loaded; shared by all cameras and safe to use from several threads.

    Attributes:
        name: the bundle's name.
        codec_id: 32 bytes that name what turns records into latents.
        decodes: this and the one that the bundle had before it learned motion.
        levels: how many quality levels there are, 0 the coarsest.
        entropy: the integer entropy model of frames coded alone.
        motion: that of frames coded after another, with motion; None in a bundle from before motion. temporal: that
            without, which encoders use only where there is no other; None in a bundle made since.
        octaves: int32[levels, M], logarithms of the gains for ``requantise``.
        grain: what lies over the pictures of its synthesis for people.
    """

    def __init__(
        self,
        *,
        folder: Path,
        manifest: Manifest,
        entropy: IntraEntropyModel,
        temporal: InterEntropyModel | None,
        motion: MotionModel | None,
        gains: NDArray[np.float32],
        octaves: NDArray[np.int32],
        threads: int,
        device: str,
    ) -> None:
        """Creates a bundle from its loaded parts.

        Args:
            gains: float32[2, levels, M], logarithms of the gains and of their decoder-side counterparts.
            threads: as in ``load``.
            device: as in ``load``.
        """
        self.folder = folder
        self.manifest = manifest
        self.name = manifest.name
        self.codec_id = bytes.fromhex(manifest.codec_id)
        self.decodes = manifest.decodes
        self.levels = manifest.levels
        self.grain = Grain(manifest.grain)
        alone = manifest.grain if manifest.detector_grain is None else manifest.detector_grain
        after = alone if manifest.detector_grain_after is None else manifest.detector_grain_after
        self._detector_grain = {Kind.I: Grain(alone), Kind.P: Grain(after)}
        self.entropy, self.temporal, self.motion, self.octaves = entropy, temporal, motion, octaves
        self._log_gains = gains
        self._networks: dict[tuple[str, type[Any]], Any] = {}
        self._threads, self._device = threads, device
        self._synthesis = SYNTHESIS

    @staticmethod
    def load(folder: Path, threads: int = 0, device: str = "cpu") -> Bundle:
        """Loads a bundle and checks every digest and that its golden records decode and encode to the same bytes.

        The networks themselves load when first asked for: an edge never loads the synthesis, nor a cloud the analysis.

        Args:
            threads: CPU threads a network may use; 0 for one per core.
            device: "cpu" or "cuda".

        Raises:
            BundleError: the bundle is missing, damaged, or does not reproduce its golden records.
        """
        manifest = read_manifest(folder)
        check_files(folder, manifest)
        bundle = Bundle.opened(folder, manifest, threads, device)
        check_golden(bundle)
        return bundle

    @staticmethod
    def opened(folder: Path, manifest: Manifest, threads: int = 0, device: str = "cpu") -> Bundle:
        """The bundle of these files as they are, nothing verified: for whoever is making it.

        Raises:
            BundleError: a file is missing or holds something else.
        """
        with np.load(BytesIO((folder / "entropy.npz").read_bytes()), allow_pickle=False) as stored:
            arrays = dict(stored)
        hyper_synthesis = IntegerNetwork(folder / "hyper_decoder.onnx", threads)
        steps = [IntegerNetwork(folder / name, threads, pointwise=True) for name in CONTEXT]
        try:
            gains, octaves = arrays["log_gains"].astype(np.float32), arrays["gain_octaves"]
            context_groups = np.split(arrays["context_order"], arrays["context_ends"][:-1])
        except KeyError as error:
            raise BundleError(f"{folder / 'entropy.npz'} lacks the array {error.args[0]!r}") from None
        latent, hyper, skip_map_tables = (Tables.from_arrays(arrays, name) for name in ("latent", "hyper", "movement"))
        context = ContextModel(steps, context_groups)
        _, levels, channels = gains.shape
        motion = _motion(folder, octaves) if MOTION_TABLES in manifest.files else None
        temporal = None
        if TEMPORAL[0] in manifest.files:
            temporal = InterEntropyModel(_differences(folder, TEMPORAL, arrays, "entropy.npz"), skip_map_tables)
        entropy = IntraEntropyModel(hyper_synthesis, context, latent, hyper, skip_map_tables, levels, channels, motion)
        return Bundle(
            folder=folder,
            manifest=manifest,
            entropy=entropy,
            temporal=temporal,
            motion=motion,
            gains=gains,
            octaves=octaves,
            threads=threads,
            device=device,
        )

    def detector_grain(self, kind: Kind) -> Grain:
        """What lies over the pictures of its synthesis for detectors, of frames of a kind."""
        return self._detector_grain[kind]

    def unfinetuned(self) -> Bundle:
        """This bundle with the synthesis that it had before its finetuning, and no grain over its pictures.

        Raises:
            BundleError: it has none, or that is damaged.
        """
        if UNFINETUNED not in self.manifest.files:
            raise BundleError(f"bundle {self.name} has no decoder from before its finetuning, {UNFINETUNED}")
        check_file(self.folder / UNFINETUNED, self.manifest.files[UNFINETUNED])
        other = copy(self)
        other._synthesis, other.grain = UNFINETUNED, Grain(())
        other._detector_grain = dict.fromkeys(Kind, other.grain)
        return other

    @property
    def synthesis_digest(self) -> str:
        """The sha256 of the synthesis, in hex: says with the records what their pictures are."""
        return self.manifest.files[self._synthesis].sha256

    @property
    def analysis(self) -> Analysis:
        """g_a, loaded on first use."""
        network: Analysis = self._network("encoder.onnx", Analysis)
        return network

    @property
    def hyper_analysis(self) -> HyperAnalysis:
        """h_a, loaded on first use."""
        network: HyperAnalysis = self._network("hyper_encoder.onnx", HyperAnalysis)
        return network

    @property
    def synthesis(self) -> Synthesis:
        """g_s, loaded on first use."""
        network: Synthesis = self._network(self._synthesis, Synthesis)
        return network

    @property
    def sparse_analysis(self) -> AnalysisLayers | None:
        """g_a where pixels changed, loaded on first use; none on a GPU, which is quicker with whole pictures."""
        if self._device == "cuda":
            return None
        kind = SparseGatedAnalysis if is_gated(self.folder / "encoder.onnx") else SparseAnalysis
        layers: AnalysisLayers = self._network("encoder.onnx", kind)
        return layers

    @property
    def sparse_synthesis(self) -> SynthesisLayers | None:
        """g_s where latents changed, loaded on first use; none on a GPU, which is quicker with whole pictures."""
        if self._device == "cuda":
            return None
        kind = SparseGatedSynthesis if is_gated(self.folder / self._synthesis) else SparseSynthesis
        layers: SynthesisLayers = self._network(self._synthesis, kind)
        return layers

    def gains(self, quality: int) -> NDArray[np.float32]:
        """What latents are multiplied by before rounding, float32[M]."""
        return self._interpolated(0, quality)

    def inverse_gains(self, quality: int) -> NDArray[np.float32]:
        """What integers are multiplied by after decoding, float32[M]."""
        return self._interpolated(1, quality)

    def level_shares(self, quality: int) -> NDArray[np.float32]:
        """What transforms that know the level are told: the share of each whole level, float32[levels]."""
        level, fraction = divmod(quality, QUALITY_STEPS)
        shares = np.zeros(self.levels, np.float32)
        shares[level] = 1 - fraction / QUALITY_STEPS
        if fraction:
            shares[level + 1] = fraction / QUALITY_STEPS
        return shares

    def _interpolated(self, which: int, quality: int) -> NDArray[np.float32]:
        level, fraction = divmod(quality, QUALITY_STEPS)
        low, high = self._log_gains[which, level], self._log_gains[which, min(level + 1, self.levels - 1)]
        result: NDArray[np.float32] = np.exp(low + (high - low) * np.float32(fraction / QUALITY_STEPS))
        return result

    def _network(self, name: str, kind: type[Any]) -> Any:
        if (name, kind) not in self._networks:
            self._networks[name, kind] = kind(self.folder / name, self._threads, self._device)
        return self._networks[name, kind]


def _motion(folder: Path, octaves: NDArray[np.int32]) -> MotionModel:
    with np.load(BytesIO((folder / MOTION_TABLES).read_bytes()), allow_pickle=False) as stored:
        arrays = dict(stored)
    try:
        linear = LinearPath(arrays["linear_analysis"], arrays["linear_synthesis"], octaves)
        # Bundles of before icm-2 search where they move.
        search = LinearSynthesis(arrays[SEARCH], octaves) if SEARCH in arrays else linear
    except KeyError as error:
        raise BundleError(f"{folder / MOTION_TABLES} lacks the array {error.args[0]!r}") from None
    fields = FieldTables(*(Tables.from_arrays(arrays, name) for name in FIELD_TABLES))
    return MotionModel(linear, _differences(folder, MOTION, arrays, MOTION_TABLES), fields, search)


def _differences(folder: Path, names: tuple[str, ...], arrays: dict[str, NDArray[Any]], tables: str) -> DifferenceModel:
    # What moved is too little for threads: they would wait for each other longer than they work.
    networks = [IntegerNetwork(folder / name, 1, pointwise=True) for name in names]
    try:
        groups = np.split(arrays["channel_order"], arrays["group_ends"][:-1])
    except KeyError as error:
        raise BundleError(f"{folder / tables} lacks the array {error.args[0]!r}") from None
    return DifferenceModel(networks, groups, Tables.from_arrays(arrays, "difference"))
