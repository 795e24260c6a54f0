"""Features of the frozen classifier, here with random weights in place of the fetched ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from icm_train.models.efficientnet_lite import EfficientNetFeatures
from tests.training.feature_weights import write_random_classifier


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_classifier(tmp_path_factory.mktemp("weights") / "network.pth")


def test_features_come_at_strides_2_4_8_and_16(weights: Path) -> None:
    found = EfficientNetFeatures(weights).features(torch.rand(2, 3, 64, 96))
    assert [tuple(one.shape) for one in found] == [(2, 16, 32, 48), (2, 24, 16, 24), (2, 40, 8, 12), (2, 112, 4, 6)]


def test_normalisations_that_are_folded_in_give_what_they_give_apart(weights: Path) -> None:
    stored: dict[str, Tensor] = torch.load(weights, weights_only=True)

    def apart(x: Tensor, convolution: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        x = F.conv2d(x, stored[f"{convolution}.weight"], stride=stride, groups=groups)
        statistics = (stored[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *statistics, eps=1e-3)

    image = torch.rand(1, 3, 32, 32)
    x = F.relu6(apart(F.pad((image * 255 - 127) / 128, (0, 1, 0, 1)), "_conv_stem", "_bn0", stride=2))
    x = F.relu6(apart(F.pad(x, (1, 1, 1, 1)), "_blocks.0._depthwise_conv", "_blocks.0._bn1", groups=32))
    x = apart(x, "_blocks.0._project_conv", "_blocks.0._bn2")
    assert torch.allclose(EfficientNetFeatures(weights).features(image)[0], x, atol=1e-4)


def test_gradients_reach_the_picture_and_never_the_network(weights: Path) -> None:
    network, picture = EfficientNetFeatures(weights), torch.rand(1, 3, 32, 32, requires_grad=True)
    network.features(picture)[-1].square().sum().backward()
    assert picture.grad is not None
    assert picture.grad.abs().sum() > 0
    assert all(not p.requires_grad and p.grad is None for p in network.parameters())
