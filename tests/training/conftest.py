"""What the tests of training share: made photos with COCO labels, and a codec that was trained for some steps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from icm_train.cli import main
from icm_train.data.photo_shard import pack
from tests.training.feature_weights import write_random_weights

SMOKE = Path(__file__).parents[2] / "training/icm_train/configs/smoke.yaml"
HEIGHT, WIDTH = 280, 300


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of four photos of a chequered ramp."""
    folder = tmp_path_factory.mktemp("photos")
    row, column = np.mgrid[0:HEIGHT, 0:WIDTH]
    for number in range(4):
        planes = [row * (number + 1) // 3, column, 40 * number + (row // 20 + column // 20) % 2 * 60]
        Image.fromarray(np.stack(planes, -1).clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def coco_instances(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO instances file of the photos: in each an object of 100 px, and a crowd, which has no polygon."""
    square = [80, 60, 180, 60, 180, 160, 80, 160]
    images = [
        {"id": number, "file_name": path.name, "width": WIDTH, "height": HEIGHT}
        for number, path in enumerate(sorted(photos.iterdir()))
    ]
    annotations: list[dict[str, Any]] = [
        {"id": image["id"], "image_id": image["id"], "category_id": 1, "segmentation": [square], "iscrowd": 0}
        for image in images
    ]
    crowd = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}
    annotations.append({"id": 99, "image_id": 0, "category_id": 1, "segmentation": crowd, "iscrowd": 1})
    path = tmp_path_factory.mktemp("labels") / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}))
    return path


@pytest.fixture(scope="session")
def trained(photos: Path, coco_instances: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with photos and masks, in which the base stage was stopped at half of its steps and went on."""
    folder = tmp_path_factory.mktemp("training")
    half = smoke_config(folder / "half.yaml", base={"steps": 5, "save_every": 5})
    whole = smoke_config(folder / "whole.yaml", base={"steps": 10, "save_every": 5})
    assert main(["pack", "--photos", str(photos), "--folder", str(folder)]) == 0
    assert main(["masks", "--coco-labels", str(coco_instances), "--folder", str(folder)]) == 0
    assert main(["base", "--config", str(half), "--folder", str(folder)]) == 0
    assert main(["base", "--config", str(whole), "--folder", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def feature_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the perceptual distance's network, in place of the fetched ones."""
    return write_random_weights(tmp_path_factory.mktemp("features") / "network.pth")


def smoke_config(path: Path, **changes: dict[str, Any]) -> Path:
    """The smoke config with other settings in some of its sections."""
    settings = yaml.safe_load(SMOKE.read_text())
    for section, values in changes.items():
        settings[section] = settings.get(section, {}) | values
    path.write_text(yaml.safe_dump(settings))
    return path


def borrow(source: Path, target: Path, *names: str) -> None:
    """Links a run's files into another run's folder."""
    for name in names:
        (target / name).symlink_to(source / name)


@pytest.fixture(scope="session")
def many_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 42 photos of slopes and texture, PNG and JPEG of two qualities."""
    folder = tmp_path_factory.mktemp("many")
    random = np.random.default_rng(5)
    row, column = np.mgrid[0:260, 0:280]
    for number in range(42):
        slopes = random.uniform(-0.4, 0.4, (3, 2)) @ np.stack((row.ravel(), column.ravel()))
        texture = random.normal(0, 6, (260 // 4, 280 // 4)).repeat(4, 0).repeat(4, 1)
        picture = (slopes.reshape(3, 260, 280) + 128 + texture).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
        name, options = (("png", {}), ("jpg", {"quality": 92}), ("jpg", {"quality": 60}))[number % 3]
        Image.fromarray(picture).save(folder / f"{number:02}.{name}", **options)
    return folder


@pytest.fixture(scope="session")
def shard(many_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shard") / "photos.u8"
    pack([many_photos], path)
    return path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As a long run has it; sums of floats hang on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
