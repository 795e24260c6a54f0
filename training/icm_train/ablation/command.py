"""``icm-train ablate``: runs the ablation and writes its table."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from icm.errors import ConfigError
from icm_train.ablation.page import page
from icm_train.ablation.runs import Ablation, finetune_variants, load_ablation_config, object_variants
from icm_train.evaluation.codec_figures import DetectorTest
from icm_train.evaluation.detection import load_photos, yolo


def ablate(options: argparse.Namespace, shard: Path) -> None:
    """Does what the command line asks for.

    Raises:
        ConfigError: nothing to start from, or a setting is wrong.
    """
    config = load_ablation_config(options.config)
    starts = {"finetune": options.finetune_start, "object": options.object_start}
    if not any(starts.values()):
        raise ConfigError("say what to start from: --finetune-start and --object-start, or one of them")
    detector = None
    if options.detector_photos:
        photos = load_photos(options.detector_photos)[: config.detector_photos]
        detector = DetectorTest(yolo(options.detector_weights), photos)
    ablation = Ablation(config, shard, options.folder / "ablation", detector)
    variants = {"finetune": finetune_variants(config), "object": object_variants(config)}
    rows: list[dict[str, object]] = []
    for stage, start in starts.items():
        if start:
            rows += ablation.rows(stage, variants[stage], start)
    results = {
        "config": asdict(config),
        "detector": options.detector_weights.stem if detector else None,
        "detector_photos": len(detector.photos) if detector else 0,
        "rows": rows,
    }
    options.results.write_text(json.dumps(results, indent=1) + "\n")
    options.page.write_text(page(results))
    print(f"written to {options.results} and {options.page}")
