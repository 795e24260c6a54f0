"""Stage 2: object-region learning. The distortion counts inside object masks, so the codec learns which regions matter.

T. Shindo, T. Watanabe, K. Yamada, H. Watanabe, "Image Coding for Machines with Object Region Learning",
arXiv 2308.13984. Nothing but masks says what an object is, and they are gone once training is: no region map goes into
the codec, and no detector is part of the loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from icm.errors import ConfigError
from icm_train.data.masks import mask_file
from icm_train.data.photo_shard import Batch
from icm_train.losses.feature_distance import FeatureDistance
from icm_train.losses.rate_distortion import AreaMode, ErrorMeasure, grown, object_mse
from icm_train.models.codec import CodecOutput
from icm_train.models.networks import NetworkConfig
from icm_train.stages.loop import training_device
from icm_train.stages.trainer import CodecTrainer, TrainerConfig

NAME = "object"


@dataclass(frozen=True)
class ObjectRegionConfig(TrainerConfig):
    """Settings of the stage, beside those of every stage.

    Attributes:
        background: weight of the distortion outside all masks, 0..1.
        area: whether the mean is taken over all pixels or over the weights; see ``object_mse``.
        measure: what the distortion of a pixel is; see ``object_mse``.
        margin: pixels that a mask grows by on all sides, since a detector finds an object by its outline against what
            is behind it.
        distortion_scale: factor on the distortion, which is smaller than the base stage's where objects are few; it
            keeps the levels' rates where they were.
        feature_weight: of the distance in features of frozen networks (``icm_train.losses.feature_distance``), added to
            the scaled distortion; at 0 they are not loaded.
        alexnet: weights of one of them.
        efficientnet: weights of the other.
    """

    background: float = 0.05
    area: AreaMode = "pixel"
    margin: int = 6
    measure: ErrorMeasure = "squared"
    distortion_scale: float = 1.5
    feature_weight: float = 0.0
    alexnet: str = ".cache/weights/alex_shift_tolerant.pth"
    efficientnet: str = ".cache/weights/efficientnet_lite0.pth"


def train(network: NetworkConfig, config: ObjectRegionConfig, shard: Path, folder: Path, start: Path) -> None:
    """Goes on from the base stage's checkpoint ``start``, or from this stage's own.

    Raises:
        ConfigError: the shard has no masks.
    """
    trainer(network, config, shard, folder).run(start)


def trainer(network: NetworkConfig, config: ObjectRegionConfig, shard: Path, folder: Path) -> CodecTrainer:
    """The stage's trainer, untrained; raises ConfigError as ``train`` does."""
    if not mask_file(shard).exists():
        raise ConfigError(f"{shard} has no masks beside it: make them with icm-train masks")

    features = _features(config)

    def distortion(output: CodecOutput, batch: Batch) -> Tensor:
        assert batch.mask is not None
        mask = grown(batch.mask, config.margin)
        error = object_mse(output.image, batch.image, mask, config.background, config.area, config.measure)
        total = config.distortion_scale * error
        if features is not None:
            weight = mask + config.background * (1 - mask)
            total = total + config.feature_weight * features(output.image, batch.image, weight)
        return total

    return CodecTrainer(NAME, network, config, shard, folder, distortion)


def _features(config: ObjectRegionConfig) -> FeatureDistance | None:
    if not config.feature_weight:
        return None
    return FeatureDistance(Path(config.alexnet), Path(config.efficientnet)).to(training_device())
