"""Masks: from polygons or a model, kept one bit a pixel, cut as the photos are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icm.errors import ConfigError
from icm_train.data.masks import (
    MaskSources,
    coco_labels,
    mask_file,
    polygon_mask,
    read_masks,
    unpack,
    write_masks,
    yolo_labels,
)
from icm_train.data.photo_shard import Crops, pack

SQUARE = [0.25, 0.25, 0.75, 0.25, 0.75, 0.75, 0.25, 0.75]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """Two photos, the left halves white; the masks say white is object."""
    (tmp_path / "photos").mkdir()
    for name, size in (("a.png", (301, 270)), ("b.png", (260, 333))):
        pixels = np.zeros((size[1], size[0], 3), np.uint8)
        pixels[:, : size[0] // 2] = 255
        Image.fromarray(pixels).save(tmp_path / "photos" / name)
    shard = tmp_path / "photos.u8"
    pack([tmp_path / "photos"], shard)
    write_masks(shard, lambda image: image[:, :, 0] > 128, {})
    return shard


def test_masks_are_kept_to_the_pixel(shard: Path) -> None:
    photos = json.loads(shard.with_suffix(".json").read_text())
    for photo, bits in zip(photos, read_masks(shard, photos), strict=True):
        mask = unpack(bits, photo["height"], photo["width"])
        assert mask[:, : photo["width"] // 2].all()
        assert not mask[:, photo["width"] // 2 :].any()


def test_a_crops_mask_follows_its_cut_scale_and_mirror(shard: Path) -> None:
    crops = Crops(shard, 64, 1, seed=3)
    for _ in range(40):
        image, mask = crops.crop()
        assert mask is not None
        # Scaling blurs the edge between the halves by a pixel or two.
        agreement = ((image[0] > 128) == mask).float().mean().item()
        assert agreement > 0.94


def test_labels_win_over_the_model(shard: Path) -> None:
    write_masks(shard, lambda image: np.ones(image.shape[:2], bool), {"a.png": [SQUARE]})
    photos = json.loads(shard.with_suffix(".json").read_text())
    packed = zip(photos, read_masks(shard, photos), strict=True)
    shares = [unpack(bits, photo["height"], photo["width"]).mean() for photo, bits in packed]
    assert shares == [pytest.approx(0.25, abs=0.01), 1.0]


def test_a_photo_without_labels_needs_a_model_and_is_named(shard: Path) -> None:
    before = mask_file(shard).read_bytes()
    with pytest.raises(ConfigError, match=r"b\.png has no labels: give a segmentation model"):
        write_masks(shard, None, {"a.png": [SQUARE]})
    assert mask_file(shard).read_bytes() == before


def test_labels_of_every_photo_need_no_model(shard: Path) -> None:
    write_masks(shard, None, {"a.png": [SQUARE], "b.png": []})
    photos = json.loads(shard.with_suffix(".json").read_text())
    packed = zip(photos, read_masks(shard, photos), strict=True)
    assert [unpack(bits, photo["height"], photo["width"]).any() for photo, bits in packed] == [True, False]


def test_mask_sources_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--coco-labels"):
        MaskSources().check()
    with pytest.raises(ConfigError, match=str(tmp_path / "none.json")):
        MaskSources(coco_labels=tmp_path / "none.json").check()


def test_yolo_labels_are_polygons_by_photo_name(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("0 " + " ".join(map(str, SQUARE)) + "\n")
    assert yolo_labels(tmp_path) == {"x.jpg": [SQUARE]}


def test_coco_labels_are_scaled_and_crowds_left_out(tmp_path: Path) -> None:
    polygon = [10, 20, 30, 20, 30, 60]
    content = {
        "images": [{"id": 5, "file_name": "x.jpg", "width": 100, "height": 200}],
        "annotations": [
            {"image_id": 5, "segmentation": [polygon]},
            {"image_id": 5, "segmentation": {"counts": [], "size": []}},
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    (found,) = coco_labels(path)["x.jpg"]
    assert found == pytest.approx([0.1, 0.1, 0.3, 0.1, 0.3, 0.3])


def test_a_polygon_of_fewer_than_three_points_covers_nothing() -> None:
    assert not polygon_mask([[0.1, 0.1, 0.9, 0.9]], 20, 20).any()
