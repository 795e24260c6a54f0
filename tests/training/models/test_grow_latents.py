"""More latents for a trained codec: what it had learned stays, what is new starts silent."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from icm.errors import ConfigError
from icm_train.models.codec import TrainableCodec
from icm_train.models.grow_latents import copy_weights
from icm_train.models.networks import NetworkConfig

NARROW = NetworkConfig(12, 4, 16, 16, 16, 16, 8, 8, 8)
WIDE = replace(NARROW, luma=20, chroma=6)
OLD_AMONG_NEW = [*range(12), *range(20, 24), *range(26, 30)]
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def narrow() -> TrainableCodec:
    """A codec whose every weight has moved away from its start."""
    torch.manual_seed(2)
    codec = TrainableCodec(NARROW)
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return codec


@pytest.fixture
def wide(narrow: TrainableCodec) -> TrainableCodec:
    torch.manual_seed(3)
    codec = TrainableCodec(WIDE)
    copy_weights(codec, narrow.state_dict(), NARROW, IMAGES)
    return codec


@torch.no_grad()
def test_the_latents_it_had_are_the_same(narrow: TrainableCodec, wide: TrainableCodec) -> None:
    assert torch.allclose(wide.analysis(IMAGES)[:, OLD_AMONG_NEW], narrow.analysis(IMAGES), atol=1e-4)


@torch.no_grad()
def test_without_the_new_latents_it_acts_the_same(narrow: TrainableCodec, wide: TrainableCodec) -> None:
    latents = narrow.analysis(IMAGES)
    spread = torch.zeros(2, WIDE.latents, 4, 4)
    spread[:, OLD_AMONG_NEW] = latents
    assert torch.allclose(wide.synthesis(spread), narrow.synthesis(latents), atol=1e-5)
    hyper = narrow.hyper_analysis(latents)
    assert torch.allclose(wide.hyper_analysis(spread), hyper, atol=1e-4)
    levels = torch.tensor([0, 5])
    for old, new in zip(narrow.hyper_synthesis(hyper, levels), wide.hyper_synthesis(hyper, levels), strict=True):
        assert torch.allclose(new[:, OLD_AMONG_NEW], old, atol=1e-5)


@torch.no_grad()
def test_new_latents_quantise_about_as_coarsely_as_the_old(wide: TrainableCodec) -> None:
    gains = wide.gains.scale(torch.arange(8))[:, :, 0, 0]
    fresh = [channel for channel in range(WIDE.latents) if channel not in OLD_AMONG_NEW]
    ratio = gains[:, fresh].log().mean(1) - gains[:, OLD_AMONG_NEW].log().mean(1)
    assert ratio.abs().max() < 1e-4


@pytest.mark.parametrize("change", [{"luma": 11}, {"encoder_wide": 24}])
def test_a_checkpoint_that_differs_in_more_than_fewer_latents_is_refused(
    narrow: TrainableCodec, change: dict[str, int]
) -> None:
    with pytest.raises(ConfigError, match="start checkpoint"):
        copy_weights(TrainableCodec(replace(NARROW, **change)), narrow.state_dict(), NARROW, IMAGES)
