"""The distance of a frozen network's features, here with random weights in place of the fetched ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from icm.errors import ConfigError
from icm_train.models.efficientnet_lite import EfficientNetFeatures
from icm_train.models.features import FrozenFeatures
from tests.training.feature_weights import write_random_weights


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> FrozenFeatures:
    return FrozenFeatures(write_random_weights(tmp_path_factory.mktemp("weights") / "network.pth"))


def test_equal_pictures_have_no_distance_and_more_noise_has_more(network: FrozenFeatures) -> None:
    generator = torch.Generator().manual_seed(1)
    picture, noise = torch.rand(1, 3, 48, 48, generator=generator), torch.randn(1, 3, 48, 48, generator=generator)
    none, little, much = (float(network(picture, picture + level * noise)) for level in (0.0, 0.02, 0.2))
    assert none == 0
    assert 0 < little < much


def test_each_picture_of_a_batch_has_its_own_distance(network: FrozenFeatures) -> None:
    first, second = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    together = network(first, second)
    alone = torch.cat([network(first[n : n + 1], second[n : n + 1]) for n in range(2)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_gradients_reach_the_picture_and_never_the_network(network: FrozenFeatures) -> None:
    picture = torch.rand(1, 3, 32, 32, requires_grad=True)
    network(picture, torch.rand(1, 3, 32, 32)).sum().backward()
    assert picture.grad is not None
    assert picture.grad.abs().sum() > 0
    assert all(not p.requires_grad and p.grad is None for p in network.parameters())


@pytest.mark.parametrize("kind", [FrozenFeatures, EfficientNetFeatures])
@pytest.mark.parametrize("content", [None, b"no weights"])
def test_weights_that_are_missing_or_something_else_are_named_with_how_to_get_them(
    tmp_path: Path, content: bytes | None, kind: Callable[[Path], object]
) -> None:
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"icm\.testing\.assets --features") as refused:
        kind(path)
    assert str(path) in str(refused.value)
