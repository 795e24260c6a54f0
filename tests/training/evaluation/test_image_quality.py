"""How like its original a decoded picture is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from icm_train.evaluation.image_quality import Region, image_quality
from icm_train.models.features import FrozenFeatures
from tests.training.feature_weights import write_random_weights


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FrozenFeatures:
    return FrozenFeatures(write_random_weights(tmp_path_factory.mktemp("weights") / "network.pth"))


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(40, 200, (165, 172, 3)).astype(np.uint8)


def test_equal_pictures_are_alike_in_every_way(picture: NDArray[np.uint8], features: FrozenFeatures) -> None:
    found = image_quality(picture, picture, None, features)
    assert math.isinf(found.whole.psnr)
    assert found.ms_ssim == pytest.approx(1, abs=1e-4)
    assert found.perceptual == pytest.approx(0, abs=1e-6)
    assert (found.objects, found.background) == (None, None)


def test_what_is_wrong_in_objects_and_in_the_background_is_told_apart(
    picture: NDArray[np.uint8], features: FrozenFeatures
) -> None:
    mask = np.zeros(picture.shape[:2], bool)
    mask[:, :40] = True
    off = picture + np.where(mask, 2, 20).astype(np.uint8)[:, :, None]
    found = image_quality(picture, off, mask, features)
    assert found.objects is not None
    assert found.background is not None
    assert found.objects.psnr == pytest.approx(20 * math.log10(255 / 2))
    assert found.background.psnr == pytest.approx(20 * math.log10(255 / 20))
    assert found.objects + found.background == pytest.approx(found.whole)
    assert found.ms_ssim < 1
    assert found.perceptual > 0


def test_a_region_without_pixels_has_no_psnr() -> None:
    assert math.isnan(Region(0.0, 0).psnr)
