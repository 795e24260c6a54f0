"""From checkpoints to a bundle: ONNX networks, the integer entropy model, golden records, the manifest."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from icm.atomic_file import write_atomically
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.manifest import (
    CONTEXT,
    DECODING,
    ENCODING,
    GOLDEN,
    MANIFEST,
    MOTION,
    MOTION_TABLES,
    BundleFile,
    Manifest,
    codec_id_of,
)
from icm_train.export.golden import golden_stream
from icm_train.models.codec import Synthesis, TrainableCodec
from icm_train.stages import finetune, quantise, temporal_quantise
from icm_train.weights.checkpoint import load_codec

DECODER = "decoder.onnx"
DECODER_BASE = "decoder_base.onnx"
"""The synthesis before adversarial finetuning, for comparison; not there without finetuning."""


class _Encoder(nn.Module):
    """uint8[1, H, W, 3], gains[1, M, 1, 1] and, if it knows the level, levels[1, L] -> scaled latents, not rounded."""

    def __init__(self, codec: TrainableCodec) -> None:
        super().__init__()
        self.analysis = codec.analysis

    def forward(self, image: Tensor, gains: Tensor, levels: Tensor | None = None) -> Tensor:
        latents: Tensor = self.analysis(image.permute(0, 3, 1, 2).float() / 255, levels) * gains
        return latents


class _Decoder(nn.Module):
    """Integer latents, ungains[B, M, 1, 1] and, if it knows the level, levels[B, L] -> uint8[B, H, W, 3]."""

    def __init__(self, synthesis: Synthesis) -> None:
        super().__init__()
        self.synthesis = synthesis

    def forward(self, latents: Tensor, inverse_gains: Tensor, levels: Tensor | None = None) -> Tensor:
        image = self.synthesis(latents * inverse_gains, levels)
        pixels: Tensor = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        return pixels


def export_bundle(
    checkpoint: Path,
    run: Path,
    folder: Path,
    figures: dict[str, Any],
    settings: finetune.FinetuneConfig,
) -> Manifest:
    """Writes a whole bundle.

    Args:
        checkpoint: of the base or the object stage.
        run: the folder of the training run, with what the quantise stage made of that checkpoint, and the finetune
            stage's checkpoint if its synthesis is to ship.
        folder: the bundle.
        figures: measured values to keep in the manifest.
        settings: of the finetuning; they say what grain the finetuned synthesis's pictures have.

    Raises:
        ConfigError: the run was not quantised, or finetuned from another checkpoint.
    """
    codec, provenance = load_codec(checkpoint)
    made, rate_loss = quantise.quantised(run, checkpoint)
    provenance |= {"integer_rate_loss": rate_loss}
    folder.mkdir(parents=True, exist_ok=True)
    moving = temporal_quantise.quantised(run, checkpoint)
    for source, names in ((made, (quantise.NETWORK, *CONTEXT)), (moving, (*MOTION, MOTION_TABLES))):
        for name in names:
            shutil.copyfile(source / name, folder / name)
    # An I record may say how its frame moved, with the same tables of maps.
    skip_map_tables = {
        name: array for name, array in np.load(moving / MOTION_TABLES).items() if name.startswith("movement_")
    }
    tables = dict(np.load(made / quantise.TABLES)) | skip_map_tables
    np.savez_compressed(folder / "entropy.npz", **tables)
    export_encoder(codec, folder)
    shipped = [*ENCODING, *DECODING, *MOTION, MOTION_TABLES, DECODER]
    if (finetuned := run / f"{finetune.NAME}.pt").exists():
        export_synthesis(codec, folder / DECODER_BASE)
        shipped.append(DECODER_BASE)
        codec.synthesis.load_state_dict(finetune.finetuned_synthesis(finetuned, checkpoint))
        provenance |= {"finetune": finetune.provenance(finetuned)}
    export_synthesis(codec, folder / DECODER)
    files = {name: _described(folder / name) for name in shipped}
    levels = len(codec.config.lambdas)
    manifest = Manifest(
        format=1,
        name=folder.name,
        codec_id=codec_id_of(files),
        levels=levels,
        **(settings.bundle_grain(levels)._asdict() if finetuned.exists() else {}),
        files=files,
        training=provenance,
        figures=figures,
    )
    (folder / GOLDEN).write_bytes(golden_stream(Bundle.opened(folder, manifest)))
    manifest.files[GOLDEN] = _described(folder / GOLDEN)
    write_atomically(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    return manifest


def extend_bundle(folder: Path, run: Path) -> Manifest:
    """Gives a bundle the P records that the temporal stage learned from it; all of its earlier records still decode.

    Args:
        folder: the bundle.
        run: the folder of the temporal stage that began with it.

    Raises:
        ConfigError: the stage did not run on this bundle as it is.
    """
    moving = temporal_quantise.quantised(run, folder)
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    for name in (*MOTION, MOTION_TABLES):
        shutil.copyfile(moving / name, folder / name)
        manifest.files[name] = _described(folder / name)
    manifest.codec_id = codec_id_of(manifest.files)
    (folder / GOLDEN).write_bytes(golden_stream(Bundle.opened(folder, manifest)))
    manifest.files[GOLDEN] = _described(folder / GOLDEN)
    write_atomically(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    return manifest


def export_encoder(codec: TrainableCodec, folder: Path) -> None:
    """Writes encoder.onnx and hyper_encoder.onnx, for pictures of any size."""
    image = torch.zeros(1, 128, 192, 3, dtype=torch.uint8)
    rows, columns = (torch.export.Dim(name) for name in ("rows", "columns"))
    inputs: tuple[Tensor, ...] = (image, torch.ones(1, codec.config.latents, 1, 1))
    shapes: tuple[dict[int, Any], ...] = ({1: 16 * rows, 2: 16 * columns}, {})
    if codec.config.knows_level:
        inputs, shapes = (*inputs, _one_level(codec, 1)), (*shapes, {})
    _export(_Encoder(codec), inputs, folder / "encoder.onnx", shapes)
    latents = torch.zeros(1, codec.config.latents, 8, 12)
    _export(codec.hyper_analysis, (latents,), folder / "hyper_encoder.onnx", ({2: rows, 3: columns},))


def export_synthesis(codec: TrainableCodec, path: Path) -> None:
    """Writes a decoder, for pictures of any size and batches of any length."""
    batch, rows, columns = (torch.export.Dim(name) for name in ("batch", "rows", "columns"))
    channels = codec.config.latents
    inputs: tuple[Tensor, ...] = (torch.zeros(2, channels, 8, 12), torch.ones(2, channels, 1, 1))
    shapes: tuple[dict[int, Any], ...] = ({0: batch, 2: rows, 3: columns}, {0: batch})
    if codec.config.knows_level:
        inputs, shapes = (*inputs, _one_level(codec, 2)), (*shapes, {0: batch})
    _export(_Decoder(codec.synthesis), inputs, path, shapes)


def _one_level(codec: TrainableCodec, batch: int) -> Tensor:
    """Shares of levels to export with: float32[batch, levels]."""
    return codec.weights_of(torch.full((batch,), codec.middle))


def _export(module: nn.Module, inputs: tuple[Tensor, ...], path: Path, shapes: Any) -> None:
    program = torch.onnx.export(module.eval(), inputs, dynamo=True, dynamic_shapes=shapes, verbose=False)
    assert program is not None
    model = program.model_proto
    # How it came about differs from run to run, names this machine's folders, and must not decide the codec id.
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    path.write_bytes(model.SerializeToString(deterministic=True))


def _described(path: Path) -> BundleFile:
    data = path.read_bytes()
    return BundleFile(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
