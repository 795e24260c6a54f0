"""Where a long run starts: from nothing, or with what of a trained codec fits other transforms."""

from __future__ import annotations

from dataclasses import asdict

import torch

from icm.errors import ConfigError
from icm_train.learning.photos import TrainingCrops
from icm_train.models.codec import TrainableCodec
from icm_train.models.networks import NetworkConfig

_STARTED_ON = 6
"""Batches that an untrained codec's scales are set from."""
_BRANCH_FREE = ("analysis.linear.", "synthesis.linear.")
"""The parts of the transforms that every kind of block has."""
_SAME = ("luma", "chroma", "hyper", "hyper_hidden", "lambdas")
"""Widths that the shared parts have: linear transforms, gains, entropy model."""
_STRIDES = ("encoder_wide", "encoder_deep", "decoder_deep", "decoder_wide", "decoder_fine")
_BRANCHES = ("blocks", *_STRIDES, *(f"{stride}_blocks" for stride in _STRIDES))
"""What decides whether branches are alike."""


def fresh_codec(network: NetworkConfig, crops: TrainingCrops, seed: int) -> TrainableCodec:
    """An untrained codec, a plain block transform, its entropy model's scales set from the first crops."""
    images = torch.cat([crops.batch(step) for step in range(_STARTED_ON)]).float() / 255
    torch.manual_seed(seed)
    codec = TrainableCodec(network)
    codec.start_from(images)
    return codec


def with_what_fits(codec: TrainableCodec, trained: TrainableCodec, *, branches: bool) -> TrainableCodec:
    """Gives an untrained codec the linear transforms, gains and entropy model of a trained one.

    Args:
        branches: whether it takes over its branches too, where these are of the same blocks and widths.

    Raises:
        ConfigError: the two differ in the widths of the parts that every codec has.
    """
    mine, other = asdict(codec.config), asdict(trained.config)
    if differ := [name for name in _SAME if mine[name] != other[name]]:
        raise ConfigError(f"the start codec does not fit: it differs in {', '.join(differ)}")
    take_branches = branches and all(mine[name] == other[name] for name in _BRANCHES)
    state = codec.state_dict()
    for name, value in trained.state_dict().items():
        shared = not name.startswith(("analysis.", "synthesis.")) or name.startswith(_BRANCH_FREE)
        if name in state and (shared or take_branches):
            state[name] = value
    codec.load_state_dict(state)
    return codec
