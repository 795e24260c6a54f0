"""Training steps: which photos and levels they see, which optimiser moves what, and that spikes move nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from icm_train.learning.learner import Learner
from icm_train.learning.photos import TrainingCrops
from icm_train.learning.recipe import Recipe
from icm_train.models.codec import TrainableCodec
from tests.training.small_run import CONFIG

pytestmark = pytest.mark.usefixtures("one_thread")


def learner(shard: Path, recipe: Recipe = CONFIG.recipe) -> Learner:
    torch.manual_seed(0)
    crops = TrainingCrops(shard, recipe)
    codec = TrainableCodec(CONFIG.network)
    codec.start_from(crops.batch(0).float() / 255)
    return Learner(codec, recipe, crops)


def snapshot(codec: TrainableCodec) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in codec.state_dict().items()}


@pytest.mark.parametrize("optimiser", ["adam", "muon"])
@pytest.mark.parametrize("levels", ["all", "random"])
def test_training_lowers_the_loss(shard: Path, optimiser: str, levels: str) -> None:
    one = learner(shard, replace(CONFIG.recipe, optimiser=optimiser, levels=levels, rate=2e-3, matrix_rate=2e-3))  # type: ignore[arg-type]
    losses = [one.advance(1).loss for _ in range(60)]
    assert sum(losses[-20:]) < 0.97 * sum(losses[:20])


def test_every_parameter_is_moved_whatever_the_optimiser(shard: Path) -> None:
    for optimiser in ("adam", "muon"):
        one = learner(shard, replace(CONFIG.recipe, optimiser=optimiser))  # type: ignore[arg-type]
        before = snapshot(one.codec)
        # The first step moves the last layer of a branch, which was silent; only the second reaches those before it.
        for _ in range(3):
            one.advance(1)
        still = [name for name, value in one.codec.named_parameters() if torch.equal(value, before[name])]
        assert still == ["hyper_prior.density.quantiles"]  # of which CompressAI's coder would make its tables


@pytest.mark.parametrize("poison", [float("nan"), 1e4])
def test_a_spike_is_skipped_and_leaves_everything_as_it_was(shard: Path, poison: float) -> None:
    one = learner(shard)
    for _ in range(55):
        one.advance(1)
    before = snapshot(one.codec)
    batch: Callable[[int], torch.Tensor] = one.crops.batch
    one.crops.batch = lambda step: batch(step).float() * poison  # type: ignore[method-assign]
    assert one.advance(1).skipped
    after = one.codec.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    one.crops.batch = batch  # type: ignore[method-assign]
    assert not one.advance(1).skipped


def test_the_average_follows_the_weights_and_early_on_closely(shard: Path) -> None:
    one = learner(shard)
    start = snapshot(one.codec)["gains.log_gain"]
    for _ in range(20):
        one.advance(1)
    updated = float((one.codec.gains.log_gain.detach() - start).abs().mean())
    followed = float((one.averaged().gains.log_gain.detach() - start).abs().mean())
    assert 0.3 * updated < followed < updated
