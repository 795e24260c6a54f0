"""From photos to a bundle on a small scale: pack, train, stop, go on, export, and the codec works."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from shared.codec.bundle import Bundle
from shared.codec.codec import Decoder, Encoder
from training.checkpoint import load_codec
from training.cli import main
from training.data import pack
from training.masks import mask_file, write_masks

SMOKE = Path(__file__).parents[2] / "training/configs/smoke.yaml"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    row, column = np.mgrid[0:280, 0:300]
    for number in range(4):
        planes = [row * (number + 1) // 3, column, 40 * number + (row // 20 + column // 20) % 2 * 60]
        Image.fromarray(np.stack(planes, -1).clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the base stage was stopped at half of its steps and run again to the end."""
    folder = tmp_path_factory.mktemp("training")
    settings = yaml.safe_load(SMOKE.read_text())
    settings["base"] |= {"steps": 10, "save_every": 5}
    half = folder / "half.yaml"
    half.write_text(yaml.safe_dump(settings))
    settings["base"]["steps"] = 20
    whole = folder / "whole.yaml"
    whole.write_text(yaml.safe_dump(settings))
    assert main(["pack", "--photos", str(photos), "--folder", str(folder)]) == 0
    assert main(["base", "--config", str(half), "--folder", str(folder)]) == 0
    assert main(["base", "--config", str(whole), "--folder", str(folder)]) == 0
    return folder


def test_a_run_that_was_stopped_goes_on_from_its_checkpoint(trained: Path) -> None:
    assert torch.load(trained / "base.pt", weights_only=True)["step"] == 20


def test_an_exported_bundle_loads_and_codes(trained: Path) -> None:
    folder = trained / "bundle"
    arguments = ["--folder", str(trained), "--bundle", str(folder), "--config", str(SMOKE)]
    assert main(["export", *arguments]) == 0
    bundle = Bundle.load(folder)
    image = np.full((70, 90, 3), 120, np.uint8)
    decoded = Decoder(bundle).decode(Encoder(bundle).encode(image, 7).record(1, 0), 90, 70)
    assert np.abs(decoded.astype(int) - 120).mean() < 10
    assert json.loads((folder / "manifest.json").read_text())["training"]["step"] == 20


def test_a_run_with_a_frozen_encoder_leaves_analysis_and_gains_as_they_were(trained: Path, tmp_path: Path) -> None:
    settings = yaml.safe_load(SMOKE.read_text())
    settings["base"] |= {"steps": 5, "save_every": 5, "rate_on": "rounded", "freeze_encoder": True, "rate": 1e-2}
    config = tmp_path / "rounded.yaml"
    config.write_text(yaml.safe_dump(settings))
    for name in ("photos.u8", "photos.json"):
        (tmp_path / name).symlink_to(trained / name)
    start = trained / "base.pt"
    assert main(["base", "--config", str(config), "--folder", str(tmp_path), "--start", str(start)]) == 0
    before, after = (load_codec(path)[0].state_dict() for path in (start, tmp_path / "base.pt"))
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert not [name for name in changed if name.startswith("analysis.") or name == "gains.log_gain"]
    assert "synthesis.entry.weight" in changed
    assert "hyper_synthesis.first.weight" in changed


def test_object_region_learning_goes_on_from_the_base_stage(trained: Path, tmp_path: Path) -> None:
    half = np.zeros((280, 300), bool)
    half[:, 150:] = True
    write_masks(trained / "photos.u8", lambda image: half, {})
    config = tmp_path / "object.yaml"
    settings = yaml.safe_load(SMOKE.read_text())
    settings["object"] = {"steps": 5, "crop": 128, "save_every": 5, "background": 0.0}
    config.write_text(yaml.safe_dump(settings))
    assert main(["object", "--config", str(config), "--folder", str(trained)]) == 0
    assert torch.load(trained / "object.pt", weights_only=True)["step"] == 5


def test_object_region_learning_without_masks_says_how_to_make_them(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["pack", "--photos", str(photos), "--folder", str(tmp_path)])
    (tmp_path / "base.pt").touch()
    assert main(["object", "--config", str(SMOKE), "--folder", str(tmp_path)]) == 2
    assert "icm-train masks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("base: {stepz: 3}", "no setting stepz"),
        ("sage: 1", "may stand at the top"),
        ("base: 3", "base must hold settings by name"),
        ("base: {batch: 7}", "multiple of the number of lambdas"),
    ],
)
def test_a_config_that_means_nothing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    assert main(["base", "--config", str(path), "--folder", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_training_without_a_shard_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["base", "--config", str(SMOKE), "--folder", str(tmp_path)]) == 2
    assert "icm-train pack" in capsys.readouterr().err


def test_packing_without_photos_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", "--photos", str(tmp_path), "--folder", str(tmp_path / "out")]) == 2
    assert "no photo" in capsys.readouterr().err


def test_packing_leaves_out_what_is_no_photo_and_forgets_the_masks_of_other_photos(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "damaged.jpg").write_bytes(b"not a photo")
    shard = tmp_path / "photos.u8"
    pack([photos], shard)
    write_masks(shard, lambda image: np.zeros(image.shape[:2], bool), {})
    assert mask_file(shard).exists()
    pack([photos, tmp_path], shard)
    assert len(json.loads(shard.with_suffix(".json").read_text())) == 4
    assert "damaged.jpg" in caplog.text
    assert not mask_file(shard).exists()
