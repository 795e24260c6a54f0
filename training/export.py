"""From a checkpoint to a bundle: ONNX networks, the integer entropy model, golden records, the manifest."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shared.codec.bundle import DECIDE_BITS, GOLDEN, MANIFEST, BundleFile, Manifest, codec_id_of
from shared.codec.codec import CodedFrame
from shared.codec.entropy import EntropyModel
from shared.codec.integer_network import IntegerNetwork
from shared.codec.latents import QUALITY_STEPS, Latents
from shared.codec.record import Kind, StreamHeader
from training.checkpoint import load_codec
from training.data import Crops
from training.integer_network import build_graph
from training.model import TrainableCodec
from training.stages import quantise

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportConfig:
    """Settings of the export.

    Attributes:
        crops, crop: how many pictures, and of which side in pixels, the tables are counted on, each at every level.
    """

    crops: int = 160
    crop: int = 256


class _Encoder(nn.Module):
    """uint8[1, H, W, 3], gains[1, M, 1, 1] -> scaled latents, not rounded."""

    def __init__(self, codec: TrainableCodec) -> None:
        super().__init__()
        self.analysis = codec.analysis

    def forward(self, image: Tensor, gains: Tensor) -> Tensor:
        latents: Tensor = self.analysis(image.permute(0, 3, 1, 2).float() / 255) * gains
        return latents


class _Decoder(nn.Module):
    """Integer latents, ungains[B, M, 1, 1] -> uint8[B, H, W, 3]."""

    def __init__(self, codec: TrainableCodec) -> None:
        super().__init__()
        self.synthesis = codec.synthesis

    def forward(self, latents: Tensor, ungains: Tensor) -> Tensor:
        image = self.synthesis(latents * ungains)
        pixels: Tensor = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        return pixels


def export_bundle(
    checkpoint: Path, config: ExportConfig, shard: Path, folder: Path, figures: dict[str, Any]
) -> Manifest:
    """Writes a whole bundle.

    Args:
        checkpoint: of the base stage.
        shard: photos to take the tables' statistics from, the training set.
        figures: measured values to keep in the manifest.
    """
    codec, provenance = load_codec(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    export_networks(codec, folder)
    crops = Crops(shard, config.crop, 1, seed=77)
    graph = build_graph(quantise.integer_layers(codec.hyper_synthesis)).SerializeToString()
    (folder / "hyper_decoder.onnx").write_bytes(graph)
    network = IntegerNetwork(graph, 0)
    histograms = quantise.count(codec, network, [crops.crop().image for _ in range(config.crops)])
    tables = quantise.latent_tables(histograms), quantise.hyper_tables(histograms)
    entropy = EntropyModel(network, *tables, len(codec.config.lambdas), codec.config.latents)
    loss = quantise.rate_loss(codec, entropy, [crops.crop().image for _ in range(min(16, config.crops))])
    log.info("the integer entropy model takes %+.2f %% bytes against the float one", 100 * loss)
    gains = torch.stack((codec.gains.log_gain, codec.gains.log_ungain)).detach().numpy()
    np.savez_compressed(folder / "entropy.npz", log_gains=gains.astype(np.float32), **entropy.arrays())
    names = [*DECIDE_BITS, "decoder.onnx"]
    files = {name: _described(folder / name) for name in names}
    codec_id = codec_id_of(files)
    (folder / GOLDEN).write_bytes(_golden(codec, entropy, bytes.fromhex(codec_id)))
    files[GOLDEN] = _described(folder / GOLDEN)
    manifest = Manifest(
        format=1,
        name=folder.name,
        codec_id=codec_id,
        levels=entropy.levels,
        files=files,
        training=provenance | {"integer_rate_loss": round(loss, 5)},
        figures=figures,
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
    return manifest


def export_networks(codec: TrainableCodec, folder: Path) -> None:
    """Writes encoder.onnx, hyper_encoder.onnx and decoder.onnx, with free picture sizes and batch."""
    config = codec.config
    image = torch.zeros(1, 128, 192, 3, dtype=torch.uint8)
    vector = torch.ones(1, config.latents, 1, 1)
    latents = torch.zeros(2, config.latents, 8, 12)
    batch, rows, columns = (torch.export.Dim(name) for name in ("batch", "rows", "columns"))
    _export(_Encoder(codec), (image, vector), folder / "encoder.onnx", ({1: 16 * rows, 2: 16 * columns}, {}))
    _export(codec.hyper_analysis, (latents[:1],), folder / "hyper_encoder.onnx", ({2: rows, 3: columns},))
    spread = vector.repeat(2, 1, 1, 1)
    shapes = ({0: batch, 2: rows, 3: columns}, {0: batch})
    _export(_Decoder(codec), (latents, spread), folder / "decoder.onnx", shapes)


def _export(module: nn.Module, inputs: tuple[Tensor, ...], path: Path, shapes: Any) -> None:
    program = torch.onnx.export(module.eval(), inputs, dynamo=True, dynamic_shapes=shapes, verbose=False)
    assert program is not None
    program.save(str(path), external_data=False)


def _golden(codec: TrainableCodec, entropy: EntropyModel, codec_id: bytes) -> bytes:
    """A stream of one record per level of a picture made by arithmetic, sized so that edges are padded."""
    rows, columns = np.mgrid[0:90, 0:150]
    pattern = np.stack([rows * 2 % 256, columns * 3 % 256, (rows * columns // 16) % 256], -1).astype(np.uint8)
    header = StreamHeader(codec_id, "golden", 1, 0, 150, 90)
    padded = np.pad(pattern, ((0, -90 % 16), (0, -150 % 16), (0, 0)), mode="edge")
    stream = header.pack()
    for level in range(entropy.levels):
        y, z = codec.integers(torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255, level)
        latents = Latents(y[0].numpy().astype(np.int16), z[0].numpy().astype(np.int8), level * QUALITY_STEPS, 150, 90)
        coded = CodedFrame(Kind.I, 0, latents.quality, latents.digest(), entropy.encode(latents))
        stream += coded.record(level + 1, level * 100_000).pack(header)
    return stream


def _described(path: Path) -> BundleFile:
    data = path.read_bytes()
    return BundleFile(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
