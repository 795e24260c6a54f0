"""Stage 1: rate + lambda * MSE over the whole picture."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from icm_train.data.photo_shard import Batch
from icm_train.losses.rate_distortion import squared_error
from icm_train.models.codec import CodecOutput
from icm_train.models.networks import NetworkConfig
from icm_train.stages.trainer import CodecTrainer, TrainerConfig

NAME = "base"


def train(network: NetworkConfig, config: TrainerConfig, shard: Path, folder: Path, start: Path | None) -> None:
    """Trains the codec from its start as a block transform, or from an earlier run's checkpoint ``start``.

    If the folder holds a checkpoint of this stage, goes on from that.
    """
    CodecTrainer(NAME, network, config, shard, folder, _distortion).run(start)


def _distortion(output: CodecOutput, batch: Batch) -> Tensor:
    return squared_error(output.image, batch.image).mean((1, 2))
