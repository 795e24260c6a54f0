"""What ``icm-train`` does: from photos to a bundle, a stage a subcommand, each going on where it was stopped."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from icm.codec.threads import thread_count
from icm.errors import ConfigError, IcmError
from icm.version import add_version
from icm_train.config import CONFIGS, load_config
from icm_train.data.masks import MaskSources
from icm_train.data.photo_shard import pack
from icm_train.export.bundle import export_bundle, extend_bundle
from icm_train.learning.duel import load_duels, run_duels, table
from icm_train.long_run.commands import add_long
from icm_train.pipeline import SHARD, Run
from icm_train.stages import base, context, finetune, object_region, quantise, temporal_quantise

log = logging.getLogger(__name__)


def run(arguments: Sequence[str] | None) -> int:
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
    except KeyboardInterrupt:
        print("icm-train: interrupted; it goes on from its last checkpoint", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="icm-train", description=__doc__)
    add_version(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    whole = commands.add_parser("all", help="the whole way from photos to a bundle, leaving out what is there already")
    whole.add_argument("--photos", type=Path, nargs="+", default=[], help="folders; not needed once they are packed")
    whole.set_defaults(run=_all)
    packing = commands.add_parser("pack", help="photos below the folders to one shard of pixels")
    packing.add_argument("--photos", type=Path, nargs="+", required=True)
    packing.set_defaults(run=lambda options: pack(options.photos, options.folder / SHARD))
    masking = commands.add_parser("masks", help="object masks of the shard's photos, from labels or by a model")
    masking.set_defaults(run=lambda options: _mask_sources(options).write(_shard(options.folder)))
    basing = commands.add_parser("base", help="train with rate + lambda * MSE, or go on from the last checkpoint")
    basing.add_argument(
        "--start", type=Path, help="an earlier run's checkpoint, which may have fewer latents; or a bundle"
    )
    basing.set_defaults(run=_base)
    objects = commands.add_parser("object", help="object-region learning, from the base stage's checkpoint on")
    objects.add_argument("--start", type=Path, help="the base checkpoint, where it is not in the folder; or a bundle")
    objects.set_defaults(run=_object)
    finetuning = commands.add_parser(
        "finetune", help="adversarial finetuning of the decoder; no bit of a record changes"
    )
    finetuning.set_defaults(run=_finetune)
    contexts = commands.add_parser("context", help="what decoded latents say about the next ones, without a bit more")
    contexts.set_defaults(run=_context)
    quantising = commands.add_parser("quantise", help="the integer entropy network and its tables, from the float one")
    quantising.set_defaults(run=_quantise)
    timing = commands.add_parser("temporal", help="the entropy model of P records, from made clips and real ones")
    timing.add_argument("--start", type=Path, help="the checkpoint, where it is not in the folder; or a bundle")
    timing.set_defaults(run=_temporal)
    export = commands.add_parser("export", help="what the stages made, to a bundle")
    export.set_defaults(run=_export)
    extending = commands.add_parser("extend", help="P records that were learned from a bundle, into that bundle")
    extending.set_defaults(run=_extend)
    ablating = commands.add_parser("ablate", help="short runs that differ in one choice each, measured, as a table")
    ablating.add_argument("--finetune-start", type=Path, help="checkpoint to finetune in every way")
    ablating.add_argument("--object-start", type=Path, help="checkpoint to go on from with every object-MSE")
    ablating.add_argument("--detector-photos", type=Path, help="folder with images/ and labels_boxes/")
    ablating.add_argument("--detector-weights", type=Path, default=Path(".cache/weights/yolo26n.pt"))
    ablating.add_argument("--results", type=Path, default=Path("benchmarks/results/ablation.json"))
    ablating.add_argument("--page", type=Path, default=Path("docs/ablation.md"))
    ablating.set_defaults(run=_ablate)
    add_long(commands)
    dueling = commands.add_parser("duel", help="short runs that differ in one choice, on one core for the same time")
    dueling.add_argument("--only", nargs="+", help="names of variants; default all that were not run yet")
    dueling.add_argument("--results", type=Path, default=Path("benchmarks/results/duels.json"))
    dueling.set_defaults(run=_duel)
    for command in (whole, masking):
        command.add_argument("--weights", type=Path, help="a segmentation model, for photos without labels")
        command.add_argument("--coco-labels", type=Path, help="COCO instances JSON")
        command.add_argument("--yolo-labels", type=Path, help="folder of YOLO segmentation labels")
    for command in (whole, timing):
        command.add_argument(
            "--videos", type=Path, nargs="+", default=[], help="of cameras, to cut clips out of as well"
        )
    for command in (finetuning, contexts, quantising, timing, export):
        stages = (base.NAME, object_region.NAME)
        command.add_argument("--stage", choices=stages, default=object_region.NAME, help="whose checkpoint to take")
    for command in (whole, export, extending):
        command.add_argument("--bundle", type=Path, required=True, help="the folder to write, such as models/icm-2")
        command.add_argument("--figures", type=Path, help="JSON of measured figures to keep in the manifest")
    for command in (
        whole,
        packing,
        masking,
        basing,
        objects,
        finetuning,
        contexts,
        quantising,
        timing,
        export,
        extending,
        ablating,
        dueling,
    ):
        command.add_argument("--folder", type=Path, default=Path(".cache/training"), help="shard, checkpoints and logs")
        config = {ablating: "ablation.yaml", dueling: "duels.yaml"}.get(command, "icm.yaml")
        command.add_argument("--config", type=Path, default=CONFIGS / config)
        command.add_argument("--threads", type=thread_count, default=0, help="CPU threads; default one per core")
    return parser


def _all(options: argparse.Namespace) -> None:
    run = Run(options.photos, _mask_sources(options), options.folder, options.bundle, _figures(options), options.videos)
    run(load_config(options.config))


def _base(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    base.train(config.network, config.base, _shard(options.folder), options.folder, options.start)


def _object(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    start = options.start or _checkpoint(options.folder, base.NAME)
    object_region.train(config.network, config.object, _shard(options.folder), options.folder, start)


def _finetune(options: argparse.Namespace) -> None:
    config = load_config(options.config).finetune
    finetune.train(config, _shard(options.folder), options.folder, _checkpoint(options.folder, options.stage))


def _context(options: argparse.Namespace) -> None:
    config, shard = load_config(options.config).context, _shard(options.folder)
    context.train(config, _checkpoint(options.folder, options.stage), shard, options.folder)


def _quantise(options: argparse.Namespace) -> None:
    config, shard = load_config(options.config).quantise, _shard(options.folder)
    loss = quantise.quantise(_checkpoint(options.folder, options.stage), config, shard, options.folder)
    print(f"rate loss {100 * loss:+.2f} %")


def _temporal(options: argparse.Namespace) -> None:
    config, shard = load_config(options.config).temporal, _shard(options.folder)
    start = options.start or _checkpoint(options.folder, options.stage)
    temporal_quantise.train(config, start, shard, options.folder, options.videos)


def _extend(options: argparse.Namespace) -> None:
    manifest = extend_bundle(options.bundle, options.folder)
    print(f"{options.bundle} is codec {manifest.codec_id} now")


def _export(options: argparse.Namespace) -> None:
    checkpoint = _checkpoint(options.folder, options.stage)
    settings = load_config(options.config).finetune
    manifest = export_bundle(checkpoint, options.folder, options.bundle, _figures(options), settings)
    log.info("wrote %s, codec %s", options.bundle, manifest.codec_id[:16])


def _ablate(options: argparse.Namespace) -> None:
    # Only here, since it loads a detector's evaluation, which no stage of training may lean on.
    from icm_train.ablation.command import ablate

    ablate(options, _shard(options.folder))


def _duel(options: argparse.Namespace) -> None:
    print(table(run_duels(load_duels(options.config), _shard(options.folder), options.results, options.only)))


def _mask_sources(options: argparse.Namespace) -> MaskSources:
    return MaskSources(options.weights, options.coco_labels, options.yolo_labels)


def _figures(options: argparse.Namespace) -> dict[str, object]:
    return json.loads(options.figures.read_text()) if options.figures else {}


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
