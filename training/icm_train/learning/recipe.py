"""How a codec is trained: what a step sees, what it minimises and how the weights move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from icm.errors import ConfigError
from icm_train.models.codec import DecoderSees, RateOn
from icm_train.models.networks import NetworkConfig


@dataclass(frozen=True)
class Recipe:
    """Settings of a long run and of the duels that chose them.

    Attributes:
        batch: pictures a step; with ``levels: all`` a multiple of the number of quality levels.
        crop: their side in pixels, a multiple of 64.
        levels: which quality levels a step sees: "all", each as often as any other, or "random", one drawn for each
            picture.
        level_balance: a level's loss is weighted by (lambda / median lambda) ** -level_balance, so that the best
            levels, whose loss is largest, do not drown the others.
        optimiser: what moves the matrices inside the networks: "adam", or "muon" (orthogonalised momentum, Jordan et
            al. 2024). Everything else is moved by Adam.
        rate: peak learning rate of the networks.
        matrix_rate: of the matrices where Muon moves them.
        gain_rate: of gains and biases of the entropy model.
        linear_rate: of the two linear transforms that start as a DCT.
        level_rate: of the level scales.
        warmup: steps over which the learning rate rises.
        clip: largest norm of the gradient; a larger one is scaled down to it.
        rate_on: what the rate is taken of. See ``TrainableCodec.forward``.
        decoder_sees: what the synthesis is given. See ``TrainableCodec.forward``.
        average: decay of the running average of the weights, which is what is measured and kept.
        smallest_scale: crops are cut at scales from this to the largest that the photo is good for.
        compiled: whether the codec goes through ``torch.compile``.
        seed: every random number follows from it and the number of the step.
    """

    batch: int = 8
    crop: int = 192
    levels: Literal["all", "random"] = "all"
    level_balance: float = 0.35
    optimiser: Literal["adam", "muon"] = "adam"
    rate: float = 4e-4
    matrix_rate: float = 4e-4
    gain_rate: float = 4e-3
    linear_rate: float = 2e-5
    level_rate: float = 2e-3
    warmup: int = 300
    clip: float = 5.0
    rate_on: RateOn = "noise"
    decoder_sees: DecoderSees = "rounded"
    average: float = 0.9995
    smallest_scale: float = 0.35
    compiled: bool = False
    seed: int = 1


def check_recipe(network: NetworkConfig, recipe: Recipe, where: str) -> None:
    """Checks that batch and crop fit the levels and the networks.

    Raises:
        ConfigError: batch or crop fit neither the levels nor the networks.
    """
    if recipe.batch < 1 or recipe.crop < 64:
        raise ConfigError(f"{where}: recipe.batch must be at least 1 and recipe.crop at least 64")
    if recipe.crop % 64 or (recipe.levels == "all" and recipe.batch % len(network.lambdas)):
        raise ConfigError(
            f"{where}: recipe.crop must be a multiple of 64, and recipe.batch one of the number of lambdas unless"
            " recipe.levels is random"
        )
