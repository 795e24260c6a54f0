"""Crops that a GPU cuts are those that ``Crops`` cuts; here the CPU is the device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from icm_train.data.device_crops import DeviceCrops, _filter
from icm_train.data.masks import mask_file, write_masks
from icm_train.data.photo_shard import pack

SIZE = 64


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos whose red plane is the column, whose green plane is the row and whose blue plane is the photo."""
    folder = tmp_path_factory.mktemp("photos")
    for number, (height, width) in enumerate([(64, 90), (150, 70), (200, 256)]):
        rows, columns = np.mgrid[:height, :width]
        planes = np.stack([columns, rows, np.full_like(rows, 50 * number)], -1)
        Image.fromarray(planes.astype(np.uint8)).save(folder / f"{number}.png")
    target = folder / "photos.u8"
    pack([folder], target, smallest=SIZE)
    # The right half of each photo is an object.
    write_masks(target, lambda image: image[..., 0] >= image.shape[1] // 2, {})
    return target


def test_a_crop_is_a_square_of_one_photo_reduced_by_a_half_at_most_and_mirrored_or_not(shard: Path) -> None:
    torch.manual_seed(3)
    image, mask = next(DeviceCrops(shard, SIZE, 400, torch.device("cpu")))
    assert image.shape == (400, 3, SIZE, SIZE)
    assert mask is not None
    grey = (image * 255).round()
    photos = grey[:, 2].amax((1, 2))
    assert torch.equal(photos, grey[:, 2].amin((1, 2)))
    assert set(photos.tolist()) == {0, 50, 100}
    across = (grey[:, 0, :, -1] - grey[:, 0, :, 0]).mean(1) / (SIZE - 1)
    down = (grey[:, 1, -1] - grey[:, 1, 0]).mean(1) / (SIZE - 1)
    assert 100 < int((across < 0).sum()) < 300, "half of them are mirrored"
    assert torch.allclose(across.abs(), down, atol=0.05), "squares stay squares"
    assert float(down.min()) == pytest.approx(1, abs=0.02)
    assert float(down.max()) == pytest.approx(2, abs=0.05)
    assert int((down < 1.01).sum()) > 180, "at least half are at the photo's own scale"


def test_a_mask_lies_where_its_object_is(shard: Path) -> None:
    torch.manual_seed(4)
    image, mask = next(DeviceCrops(shard, SIZE, 200, torch.device("cpu")))
    assert mask is not None
    middle = torch.tensor([45, 35, 128])[(image[:, 2, 0, 0] * 255 / 50).round().long()]
    inside = image[:, 0] * 255 - middle[:, None, None]
    assert bool((mask[inside > 1.5] == 1).all())
    assert bool((mask[inside < -1.5] == 0).all())


def test_a_shard_without_masks_gives_images_alone(shard: Path, tmp_path: Path) -> None:
    for file in (shard, shard.with_suffix(".json")):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert not mask_file(tmp_path / shard.name).exists()
    assert next(DeviceCrops(tmp_path / shard.name, SIZE, 2, torch.device("cpu"))).mask is None


@pytest.mark.parametrize("cut", [64, 65, 100, 128])
def test_a_cut_is_reduced_as_torch_reduces_it(cut: int) -> None:
    side = torch.rand(1, 1, 1, cut)
    places, weights = _filter(SIZE, torch.tensor([cut]))
    reduced = (side[0, 0, 0][places] * weights).sum(-1)
    expected = F.interpolate(side, (1, SIZE), mode="bilinear", antialias=True)[0, 0]
    assert torch.allclose(reduced, expected, atol=1e-5)
