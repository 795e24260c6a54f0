"""The ``icm-train`` command: from photos to a bundle, a stage a subcommand, each going on where it was stopped."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
import yaml

from shared.errors import ConfigError, IcmError
from training.data import pack
from training.export import ExportConfig, export_bundle
from training.masks import coco_labels, segmenter, write_masks, yolo_labels
from training.networks import NetworkConfig
from training.stages import base, object_region
from training.stages.object_region import ObjectRegionConfig
from training.stages.trainer import TrainerConfig

log = logging.getLogger(__name__)

SHARD = "photos.u8"


@dataclass(frozen=True)
class TrainingConfig:
    """A training run's YAML file."""

    network: NetworkConfig
    base: TrainerConfig
    object: ObjectRegionConfig
    export: ExportConfig


def load_config(path: Path) -> TrainingConfig:
    """Reads a training run's settings.

    Raises:
        ConfigError: the file is missing, no YAML, or holds a key that means nothing.
    """
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the training config {path}: {error}") from None
    sections = {field.name for field in fields(TrainingConfig)}
    if not isinstance(content, dict) or set(content) - sections:
        raise ConfigError(f"{path}: only {', '.join(sorted(sections))} may stand at the top")
    network = _section(NetworkConfig, content.get("network", {}), path, "network")
    stages = {
        name: _section(kind, content.get(name, {}), path, name)
        for name, kind in (("base", TrainerConfig), ("object", ObjectRegionConfig))
    }
    for name, stage in stages.items():
        if stage.batch % len(network.lambdas) or stage.crop % 64:
            raise ConfigError(
                f"{path}: {name}.batch must be a multiple of the number of lambdas, {name}.crop one of 64"
            )
    export = _section(ExportConfig, content.get("export", {}), path, "export")
    return TrainingConfig(network, stages["base"], stages["object"], export)


def _section(kind: Any, values: Any, path: Path, name: str) -> Any:
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: {name} must hold settings by name, not {values!r}")
    unknown = set(values) - {field.name for field in fields(kind)}
    if unknown:
        raise ConfigError(f"{path}: {name} has no setting {', '.join(sorted(unknown))}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 0 on success, 2 with one line on stderr when something was wrong."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("onnx_ir").setLevel(logging.WARNING)
    logging.getLogger("onnxscript").setLevel(logging.WARNING)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        options.run(options)
    except (IcmError, FileNotFoundError) as error:
        print(f"icm-train: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="icm-train", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    packing = commands.add_parser("pack", help="photos below the folders to one shard of pixels")
    packing.add_argument("--photos", type=Path, nargs="+", required=True)
    packing.set_defaults(run=lambda options: pack(options.photos, options.folder / SHARD))
    masking = commands.add_parser("masks", help="object masks of the shard's photos, from labels or by a model")
    masking.add_argument("--weights", type=Path, required=True, help="a segmentation model, for photos without labels")
    masking.add_argument("--yolo-labels", type=Path, help="folder of YOLO segmentation labels")
    masking.add_argument("--coco-labels", type=Path, help="COCO instances JSON")
    masking.set_defaults(run=_masks)
    basing = commands.add_parser("base", help="train with rate + lambda * MSE, or go on from the last checkpoint")
    basing.add_argument("--start", type=Path, help="checkpoint of an earlier run, which may have had fewer latents")
    basing.set_defaults(run=_base)
    objects = commands.add_parser("object", help="object-region learning, from the base stage's checkpoint on")
    objects.add_argument("--start", type=Path, help="the base checkpoint, where it is not in the folder")
    objects.set_defaults(run=_object)
    export = commands.add_parser("export", help="a checkpoint to a bundle")
    export.add_argument("--stage", choices=(base.NAME, object_region.NAME), default=base.NAME)
    export.add_argument("--bundle", type=Path, required=True, help="the folder to write, such as models/base-1")
    export.add_argument("--figures", type=Path, help="JSON of measured figures to keep in the manifest")
    export.set_defaults(run=_export)
    for command in (packing, masking, basing, objects, export):
        command.add_argument("--folder", type=Path, default=Path(".cache/training"), help="shard, checkpoints and logs")
        command.add_argument("--config", type=Path, default=Path("training/configs/base.yaml"))
        command.add_argument("--threads", type=int, default=0, help="CPU threads; default one per core")
    return parser


def _base(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    base.train(config.network, config.base, _shard(options.folder), options.folder, options.start)


def _object(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    start = options.start or _checkpoint(options.folder, base.NAME)
    object_region.train(config.network, config.object, _shard(options.folder), options.folder, start)


def _masks(options: argparse.Namespace) -> None:
    labels = coco_labels(options.coco_labels) if options.coco_labels else {}
    labels |= yolo_labels(options.yolo_labels) if options.yolo_labels else {}
    write_masks(_shard(options.folder), segmenter(options.weights), labels)


def _export(options: argparse.Namespace) -> None:
    figures = json.loads(options.figures.read_text()) if options.figures else {}
    config, shard = load_config(options.config).export, _shard(options.folder)
    manifest = export_bundle(_checkpoint(options.folder, options.stage), config, shard, options.bundle, figures)
    log.info("wrote %s, codec %s", options.bundle, manifest.codec_id[:16])


def _shard(folder: Path) -> Path:
    shard = folder / SHARD
    if not shard.exists():
        raise ConfigError(f"there is no shard {shard}: make it with icm-train pack --photos FOLDER --folder {folder}")
    return shard


def _checkpoint(folder: Path, stage: str) -> Path:
    checkpoint = folder / f"{stage}.pt"
    if not checkpoint.exists():
        raise ConfigError(f"there is no checkpoint {checkpoint}: run icm-train {stage} --folder {folder} first")
    return checkpoint
