"""The codec as one trainable module: what is measured of it is what was trained."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from icm.codec.latents.latents import HYPER_MAX
from icm_train.models.codec import RateOn, TrainableCodec
from tests.training.small_run import SMALL

LEVEL = 3


def smooth_pictures() -> Tensor:
    coarse = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.interpolate(coarse, scale_factor=16, mode="bilinear")


@pytest.mark.parametrize("rate_on", get_args(RateOn))
def test_hyper_latents_are_made_in_use_of_what_training_made_them_of(rate_on: RateOn) -> None:
    torch.manual_seed(0)
    codec = TrainableCodec(SMALL).eval()
    made: list[Tensor] = []
    codec.hyper_analysis.register_forward_hook(lambda _, __, made_of: made.append(made_of))
    images = smooth_pictures()
    with torch.no_grad():
        codec(images, torch.full((2,), LEVEL), rate_on)
        _, hyper = codec.integers(images, LEVEL, rate_on)
    assert torch.equal(hyper, made[0].clamp(-HYPER_MAX, HYPER_MAX).round())


def test_an_encoders_hyper_latents_are_made_of_rounded_latents() -> None:
    torch.manual_seed(0)
    codec = TrainableCodec(SMALL).eval()
    with torch.no_grad():
        latents, hyper = codec.integers(smooth_pictures(), LEVEL)
        assert torch.equal(hyper, codec.hyper_analysis(latents).clamp(-HYPER_MAX, HYPER_MAX).round())
