"""A codec bundle: a folder with the networks, the entropy model and a manifest that vouches for them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from icm.codec.bitstream.record import Kind, Record, parse_stream
from icm.codec.entropy.context import PHASES, ContextModel
from icm.codec.entropy.integer_network import IntegerNetwork
from icm.codec.entropy.residuals import DifferenceModel
from icm.codec.entropy.tables import Tables
from icm.codec.latents.latents import QUALITY_STEPS, Latents
from icm.codec.motion.coding import FieldTables
from icm.codec.motion.linear_path import LinearPath
from icm.codec.motion.model import MotionModel
from icm.codec.motion.prediction import LinearPicture
from icm.codec.motion.reference import Reference
from icm.codec.payload.inter import TemporalModel
from icm.codec.payload.intra import EntropyModel
from icm.codec.predict.requantise import rescale
from icm.codec.transforms.film_grain import Grain
from icm.codec.transforms.incremental import AnalysisLayers, SynthesisLayers
from icm.codec.transforms.networks import Analysis, HyperAnalysis, Synthesis
from icm.codec.transforms.sparse.analysis import SparseAnalysis
from icm.codec.transforms.sparse.gated_analysis import SparseGatedAnalysis
from icm.codec.transforms.sparse.gated_block import is_gated
from icm.codec.transforms.sparse.gated_synthesis import SparseGatedSynthesis
from icm.codec.transforms.sparse.synthesis import SparseSynthesis
from icm.errors import BundleError, IcmError, RecordError, ReferenceMissingError

FORMAT = 1
MANIFEST = "manifest.json"
GOLDEN = "golden.icm"
TEMPORAL = tuple(f"temporal_{group}.onnx" for group in range(2))
"""The networks of differences in P records without motion; a bundle made since has none of these."""
CONTEXT = tuple(f"context_{group}_{phase}.onnx" for group in range(4) for phase in range(PHASES))
"""The networks of the context model's steps, in their order."""
MOTION_TABLES = "motion.npz"
MOTION = tuple(f"motion_{group}.onnx" for group in range(2))
"""The networks of differences in P records with motion; a bundle from before motion has none of these."""
FIELD_TABLES = ("movement", "mode", "choice", "offset")
"""Names of the tables of fields, in the order of ``FieldTables``."""
ENCODING = ("encoder.onnx", "hyper_encoder.onnx")
"""What only an encoder needs: a better one leaves every record decodable."""
DECODING = ("hyper_decoder.onnx", *CONTEXT, "entropy.npz")
"""What turns an I record into its latents, and with the files of P records, of either kind, any record."""


class BundleFile(BaseModel):
    """A file of the bundle as the manifest knows it."""

    model_config = ConfigDict(extra="forbid")

    sha256: str
    bytes: int


class Manifest(BaseModel):
    """manifest.json.

    Attributes:
        format: version of the bundle's layout.
        name: of the bundle; its folder's name.
        codec_id: hex digest of what turns records into latents.
        levels: how many quality levels there are.
        grain: standard deviation of the pictures' grain at each level, in grey levels; empty for none.
        files: every other file, by name.
        training: where the weights came from, free form.
        figures: what was measured, free form.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1]
    name: str
    codec_id: str
    levels: int
    grain: list[float] = []
    files: dict[str, BundleFile]
    training: dict[str, Any]
    figures: dict[str, Any]


def codec_id_of(files: dict[str, BundleFile], *, motion: bool = True) -> str:
    """Digest of the files that turn records into latents, in hex.

    Args:
        motion: whether those of motion belong to them, if there are any. Without, it is the codec id that the bundle
            had before it learned motion, whose records it still decodes.
    """
    following = (*TEMPORAL, DECODING[-1], *((*MOTION, MOTION_TABLES) if motion else ()))
    names = [*DECODING[:-1], *(name for name in following if name in files)]
    listing = "".join(f"{name} {files[name].sha256}\n" for name in names)
    return hashlib.sha256(listing.encode()).hexdigest()


class Bundle:
    """A verified bundle with its networks loaded; shared by all cameras and safe to use from several threads.

    Attributes:
        name: the bundle's name.
        codec_id: 32 bytes that name what turns records into latents; decodes: this and the one that the bundle had
            before it learned motion.
        levels: how many quality levels there are, 0 the coarsest.
        entropy: the integer entropy model of frames coded alone.
        motion: that of frames coded after another, with motion; None in a bundle from before motion. temporal: that
            without, which encoders use only where there is no other; None in a bundle made since.
        octaves: int32[levels, M], logarithms of the gains for ``rescale``.
        grain: what lies over the pictures of its synthesis.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        entropy: EntropyModel,
        temporal: TemporalModel | None,
        motion: MotionModel | None,
        gains: NDArray[np.float32],
        octaves: NDArray[np.int32],
    ) -> None:
        """Args: gains, float32[2, levels, M], logarithms of the gains and of their decoder-side counterparts."""
        self.folder = folder
        self.manifest = manifest
        self.name = manifest.name
        self.codec_id = bytes.fromhex(manifest.codec_id)
        before = [bytes.fromhex(codec_id_of(manifest.files, motion=False))] if temporal else []
        self.decodes = frozenset([self.codec_id, *before])
        self.levels = manifest.levels
        self.grain = Grain(manifest.grain)
        self.entropy, self.temporal, self.motion, self.octaves = entropy, temporal, motion, octaves
        self._log_gains = gains
        self._networks: dict[tuple[str, type[Any]], Any] = {}
        self._threads, self._device = 0, "cpu"

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
        manifest = _read_manifest(folder)
        for name, file in manifest.files.items():
            _verify(folder / name, file)
        files = set(manifest.files)
        following = files.issuperset(TEMPORAL) or files.issuperset((*MOTION, MOTION_TABLES))
        whole = files.issuperset((*ENCODING, *DECODING)) and following
        if not whole or codec_id_of(manifest.files) != manifest.codec_id:
            raise BundleError(f"{folder / MANIFEST} does not match its own codec id {manifest.codec_id}")
        bundle = Bundle.opened(folder, manifest, threads, device)
        bundle._check_golden()
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
        steps = [IntegerNetwork(folder / name, threads) for name in CONTEXT]
        try:
            gains, octaves = arrays["log_gains"].astype(np.float32), arrays["gain_octaves"]
            context_groups = np.split(arrays["context_order"], arrays["context_ends"][:-1])
        except KeyError as error:
            raise BundleError(f"{folder / 'entropy.npz'} lacks the array {error.args[0]!r}") from None
        latent, hyper, movement = (Tables.from_arrays(arrays, name) for name in ("latent", "hyper", "movement"))
        context = ContextModel(steps, context_groups)
        _, levels, channels = gains.shape
        motion = _motion(folder, octaves) if MOTION_TABLES in manifest.files else None
        temporal = None
        if TEMPORAL[0] in manifest.files:
            temporal = TemporalModel(_differences(folder, TEMPORAL, arrays, "entropy.npz"), movement)
        entropy = EntropyModel(hyper_synthesis, context, latent, hyper, movement, levels, channels, motion)
        bundle = Bundle(folder, manifest, entropy, temporal, motion, gains, octaves)
        bundle._threads, bundle._device = threads, device
        return bundle

    def decoded(
        self, record: Record, width: int, height: int, reference: Latents | None, picture: LinearPicture | None = None
    ) -> Latents:
        """The exact latents of a record, checked against its digest.

        Args:
            reference: latents of the frame that a P record leans on; None if they are not known.
            picture: the caller's for its chain of records, so that motion computes only what changed; None for a new
                one.

        Raises:
            ReferenceMissingError: a P record came without a reference of its size.
            RecordError: there is no such quality, or the payload is not what its digest promises.
        """
        if record.quality > (self.levels - 1) * QUALITY_STEPS:
            raise RecordError(
                f"record {record.sequence} has quality {record.quality}/16, but this codec's best level is"
                f" {self.levels - 1}"
            )
        if record.kind is Kind.I:
            latents = self.entropy.decode(record.payload, record.quality, width, height)
        elif reference is None or (reference.width, reference.height) != (width, height):
            raise ReferenceMissingError(
                f"record {record.sequence} leans on record {record.sequence - record.reference}, which is not here"
            )
        else:
            like, level = replace(reference, quality=record.quality), self.entropy.level(record.quality)
            if self.motion is not None and record.motion:
                pictures = picture or LinearPicture(self.motion.path)
                latents = self.motion.decode(
                    record.payload, like, self.reference(reference, record.quality, pictures), level
                )
            elif self.temporal is not None and not record.motion:
                values = rescale(reference.values, self.octaves, reference.quality, record.quality)
                latents = self.temporal.decode(record.payload, like, values, reference.moved, level)
            else:
                kind = "with" if record.motion else "without"
                raise RecordError(
                    f"record {record.sequence} is a P record {kind} motion, of which {self.name} has none"
                )
        if (digest := latents.digest(record.version)) != record.digest:
            raise RecordError(
                f"record {record.sequence} decodes to latents with digest {digest:08x} instead of"
                f" {record.digest:08x}: it was made by another codec, or damaged"
            )
        return latents

    def reference(self, last: Latents, quality: int, pictures: LinearPicture) -> Reference:
        """What a frame of a quality, in sixteenths of a level, leans on after another."""
        values, memory = rescale(last.values, self.octaves, last.quality, quality), last.background
        remembered = rescale(memory.values, self.octaves, last.quality, quality)
        return Reference(values, pictures.of(values, quality), replace(memory, values=remembered), last.field, quality)

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
        network: Synthesis = self._network("decoder.onnx", Synthesis)
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
        kind = SparseGatedSynthesis if is_gated(self.folder / "decoder.onnx") else SparseSynthesis
        layers: SynthesisLayers = self._network("decoder.onnx", kind)
        return layers

    def gains(self, quality: int) -> NDArray[np.float32]:
        """What latents are multiplied by before rounding, float32[M]."""
        return self._interpolated(0, quality)

    def ungains(self, quality: int) -> NDArray[np.float32]:
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

    def _check_golden(self) -> None:
        try:
            header, records = parse_stream((self.folder / GOLDEN).read_bytes())
            last: Latents | None = None
            for record in records:
                last = self.decoded(record, header.width, header.height, last)
                if record.kind is Kind.I and self.entropy.encode(last) != record.payload:
                    raise RecordError(f"golden record {record.sequence} does not encode to itself on this machine")
        except (IcmError, OSError) as error:
            raise BundleError(f"bundle {self.folder} fails its self-test: {error}") from None


def _motion(folder: Path, octaves: NDArray[np.int32]) -> MotionModel:
    with np.load(BytesIO((folder / MOTION_TABLES).read_bytes()), allow_pickle=False) as stored:
        arrays = dict(stored)
    try:
        linear = LinearPath(arrays["linear_analysis"], arrays["linear_synthesis"], octaves)
    except KeyError as error:
        raise BundleError(f"{folder / MOTION_TABLES} lacks the array {error.args[0]!r}") from None
    fields = FieldTables(*(Tables.from_arrays(arrays, name) for name in FIELD_TABLES))
    return MotionModel(linear, _differences(folder, MOTION, arrays, MOTION_TABLES), fields)


def _differences(folder: Path, names: tuple[str, ...], arrays: dict[str, NDArray[Any]], tables: str) -> DifferenceModel:
    # What moved is too little for threads: they would wait for each other longer than they work.
    networks = [IntegerNetwork(folder / name, 1) for name in names]
    try:
        groups = np.split(arrays["channel_order"], arrays["group_ends"][:-1])
    except KeyError as error:
        raise BundleError(f"{folder / tables} lacks the array {error.args[0]!r}") from None
    return DifferenceModel(networks, groups, Tables.from_arrays(arrays, "difference"))


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BundleError(f"there is no codec bundle at {folder}: cannot read {path.name}: {error.strerror}") from None
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is no manifest of bundle format {FORMAT}: {error}") from None


def _verify(path: Path, file: BundleFile) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BundleError(f"the bundle's file {path} cannot be read: {error.strerror}") from None
    if found != file.sha256:
        raise BundleError(f"the bundle's file {path} is damaged: its sha256 is {found}, it should be {file.sha256}")
