"""What each choice of the two papers' stages is worth: short runs from one start that differ in one setting each."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from icm.atomic_file import write_atomically
from icm.codec.transforms.film_grain import Grain
from icm_train.config import read_yaml, section
from icm_train.data.photo_shard import Batch
from icm_train.evaluation.codec_figures import DetectorTest, Figures, evaluation_crops, measure
from icm_train.losses.rate_distortion import VISIBLE_SCALE
from icm_train.models.codec import TrainableCodec
from icm_train.models.features import FrozenFeatures
from icm_train.stages import finetune, object_region
from icm_train.stages.finetune import FinetuneConfig
from icm_train.stages.object_region import ObjectRegionConfig
from icm_train.weights.checkpoint import digest, load_codec

log = logging.getLogger(__name__)

_ROW = "row.json"


@dataclass(frozen=True)
class AblationConfig:
    """Settings of an ablation.

    Attributes:
        finetune: what all runs of this stage share, their number of steps above all.
        object: the same of this stage.
        proxy_weight: the weight of that term in the runs that have it.
        pattern_weight: the weight of that term in the runs that have it.
        grain: of the runs that have it, as ``FinetuneConfig.grain``.
        object_weight: the weight of that term in the run that has it.
        object_feature_weight: the weight of objects' features in the run of object-region learning that has it.
        levels: quality levels to measure at.
        crops: how many pictures of the training photos to measure on.
        crop: side of those pictures in pixels.
        detector_photos: how many labelled photos a detector is shown.
    """

    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    object: ObjectRegionConfig = field(default_factory=ObjectRegionConfig)
    proxy_weight: float = 300.0
    pattern_weight: float = 5.0
    grain: tuple[float, ...] = (3.4, 3.7, 3.4, 2.8, 2.4, 2.1, 1.8, 1.5)
    object_weight: float = 100.0
    object_feature_weight: float = 12.0
    levels: tuple[int, ...] = (1, 4)
    crops: int = 16
    crop: int = 256
    detector_photos: int = 32


def load_ablation_config(path: Path) -> AblationConfig:
    """Reads an ablation's YAML file; raises ConfigError as ``icm_train.config.section`` does."""
    config: AblationConfig = section(AblationConfig, read_yaml(path), str(path))
    return config


@dataclass(frozen=True)
class Variant:
    """One run.

    Attributes:
        name: what is special about it.
        settings: of its stage, None for the start as it is.
    """

    name: str
    settings: FinetuneConfig | ObjectRegionConfig | None


def finetune_variants(config: AblationConfig) -> list[Variant]:
    """Around adversarial finetuning without a proxy: one setting changed in each, and the controls."""
    middle = replace(config.finetune, feature_weight=0.0, pattern_weight=0.0, grain=(), object_weight=0.0)
    pattern = {"feature_weight": config.proxy_weight, "pattern_weight": config.pattern_weight}
    grain = pattern | {"grain": config.grain}
    changes: dict[str, dict[str, Any]] = {
        "L2 only": {"lambda_adv": 0.0},
        "adversarial": {},
        "all layers": {"layers": "all"},
        "patches of 32 px": {"patch_size": 32},
        "1 patch": {"patches": 1},
        "5 patches": {"patches": 5},
        "a quarter of lambda": {"lambda_adv": middle.lambda_adv / 4},
        "4 lambda": {"lambda_adv": middle.lambda_adv * 4},
        "BCE": {"discriminator_loss": "bce"},
        "LSGAN": {"discriminator_loss": "lsgan"},
        "feature proxy only": {"lambda_adv": 0.0, "feature_weight": config.proxy_weight},
        "adversarial and feature proxy": {"feature_weight": config.proxy_weight},
        "adversarial, feature proxy and pattern": pattern,
        "adversarial, feature proxy, pattern and grain": grain,
        "adversarial, feature proxy, pattern, grain and objects": grain | {"object_weight": config.object_weight},
    }
    runs = [Variant(name, replace(middle, **changed)) for name, changed in changes.items()]
    return [Variant("no finetuning", None), *runs]


def object_variants(config: AblationConfig) -> list[Variant]:
    """Background weights and area modes. At background 1 both modes are plain MSE, the control that goes on as long."""
    runs = [Variant("plain MSE (background 1)", replace(config.object, background=1.0, distortion_scale=1.0))]
    for background in (0.0, 0.05):
        pixel = replace(config.object, background=background, area="pixel")
        runs.append(Variant(f"background {background:g}, mean over pixels", pixel))
        # The mean over the weights does not shrink with the objects' area, so it needs no factor.
        mask = replace(config.object, background=background, area="mask", distortion_scale=1.0)
        runs.append(Variant(f"background {background:g}, mean over masks", mask))
    seen = replace(config.object, background=0.05, area="mask", measure="visible", distortion_scale=VISIBLE_SCALE)
    runs.append(Variant("background 0.05, mean over masks, visible error", seen))
    features = replace(seen, feature_weight=config.object_feature_weight)
    runs.append(Variant("background 0.05, mean over masks, visible error and features", features))
    return [Variant("the start", None), *runs]


class Ablation:
    """Runs and measures variants; each leaves a row in the folder and is not run again while its settings stay."""

    def __init__(self, config: AblationConfig, shard: Path, folder: Path, detector: DetectorTest | None) -> None:
        """Opens a study in a folder.

        Args:
            shard: photos with masks.
            folder: where runs and rows are kept.
        """
        self.config, self.shard, self.folder, self.detector = config, shard, folder, detector
        self.features = FrozenFeatures(Path(config.finetune.features))
        self.crops: list[Batch] = evaluation_crops(shard, config.crops, config.crop)

    def rows(self, stage: str, variants: Sequence[Variant], start: Path) -> list[dict[str, Any]]:
        """One row for each variant and quality level.

        Args:
            stage: "finetune" or "object".
            start: the checkpoint that all its runs begin with.
        """
        rows = []
        for number, variant in enumerate(variants):
            place = self.folder / stage / f"{number:02d}"
            settings = self._settings(variant, start)
            file = place / _ROW
            stored = json.loads(file.read_text()) if file.exists() else {}
            if stored.get("settings") != settings:
                log.info("%s: %s", stage, variant.name)
                measured = self._measured(stage, variant, start, place)
                stored = {"settings": settings, "levels": measured}
                write_atomically(file, json.dumps(stored, indent=1))
                (place / f"{stage}.pt").unlink(missing_ok=True)  # the row is what counts
            for level, figures in stored["levels"].items():
                rows.append({"stage": stage, "variant": variant.name, "level": int(level)} | figures)
        return rows

    def _settings(self, variant: Variant, start: Path) -> dict[str, Any]:
        shared = asdict(replace(self.config, finetune=FinetuneConfig(), object=ObjectRegionConfig()))
        own = asdict(variant.settings) if variant.settings else None
        photos = len(self.detector.photos) if self.detector else 0
        told = {"start": digest(start), "run": own, "shared": shared, "detector_photos": photos}
        return json.loads(json.dumps(told))  # type: ignore[no-any-return]

    def _measured(self, stage: str, variant: Variant, start: Path, place: Path) -> dict[str, Figures]:
        codec = self._codec(stage, variant, start, place)
        grain = Grain([]), Grain([])
        if isinstance(variant.settings, FinetuneConfig):
            own = variant.settings.bundle_grain(len(codec.config.lambdas))
            grain = Grain(own.grain), Grain(own.detector_grain)
        # What a run's rate was taken of is what its hyper-analysis knows how to read; what ships reads rounded ones.
        rate_on = variant.settings.rate_on if isinstance(variant.settings, ObjectRegionConfig) else "rounded"
        return {
            str(level): measure(codec, level, self.crops, self.features, self.detector, grain, rate_on)
            for level in self.config.levels
        }

    def _codec(self, stage: str, variant: Variant, start: Path, place: Path) -> TrainableCodec:
        codec, _ = load_codec(start)
        if isinstance(variant.settings, FinetuneConfig):
            finetune.train(variant.settings, self.shard, place, start)
            codec.synthesis.load_state_dict(finetune.finetuned_synthesis(place / f"{stage}.pt", start))
        elif isinstance(variant.settings, ObjectRegionConfig):
            object_region.train(codec.config, variant.settings, self.shard, place, start)
            codec, _ = load_codec(place / f"{stage}.pt")
        return codec
