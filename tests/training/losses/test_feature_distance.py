"""The distance in features of two frozen networks, here with random weights in place of the fetched ones."""

from __future__ import annotations

import pytest
import torch

from icm_train.losses.feature_distance import FeatureDistance
from tests.training.feature_weights import write_random_classifier, write_random_weights


@pytest.fixture(scope="module")
def distance(tmp_path_factory: pytest.TempPathFactory) -> FeatureDistance:
    folder = tmp_path_factory.mktemp("weights")
    return FeatureDistance(write_random_weights(folder / "one.pth"), write_random_classifier(folder / "other.pth"))


def test_equal_pictures_have_no_distance_and_more_noise_has_more(distance: FeatureDistance) -> None:
    generator = torch.Generator().manual_seed(1)
    picture, noise = torch.rand(2, 3, 128, 128, generator=generator), torch.randn(2, 3, 128, 128, generator=generator)
    everywhere = torch.ones(2, 128, 128)
    none, little, much = (distance(picture + level * noise, picture, everywhere) for level in (0.0, 0.02, 0.2))
    assert none.tolist() == [0, 0]
    assert (little > 0).all()
    assert (little < much).all()


def test_an_error_counts_by_the_weight_of_its_place(distance: FeatureDistance) -> None:
    generator = torch.Generator().manual_seed(2)
    picture = torch.rand(1, 3, 256, 256, generator=generator)
    spoilt = picture.clone()
    spoilt[..., :32] = 0
    left, right = torch.full((1, 256, 256), 0.01), torch.full((1, 256, 256), 0.01)
    left[..., :48], right[..., -48:] = 1, 1
    assert float(distance(spoilt, picture, left)) > 5 * float(distance(spoilt, picture, right))


def test_gradients_reach_the_decoded_picture_alone(distance: FeatureDistance) -> None:
    restored, image = (torch.rand(1, 3, 64, 64, requires_grad=True) for _ in range(2))
    distance(restored, image, torch.ones(1, 64, 64)).sum().backward()
    assert restored.grad is not None
    assert restored.grad.abs().sum() > 0
    assert image.grad is None
