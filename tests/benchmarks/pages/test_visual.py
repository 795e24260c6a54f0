"""``icm-bench visual``: a decoder beside the one before finetuning, on the same bits, and a control that must fail."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.testing import assets
from icm_bench.cli import main
from tests.training.feature_weights import write_random_weights

COUNT = 3


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of pictures with one labelled object, for a bundle whose finetuning changed nothing."""
    folder = tmp_path_factory.mktemp("visual")
    weights = write_random_weights(folder / "network.pth")
    bundle, pictures = folder / "bundle", folder / "pictures"
    shutil.copytree(DEFAULT_BUNDLE, bundle)
    shutil.copy(bundle / "decoder.onnx", bundle / "decoder_base.onnx")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["decoder_base.onnx"] = manifest["files"]["decoder.onnx"]
    manifest["grain"] = []
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    (pictures / "labels_seg").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(COUNT):
        rows, columns = np.mgrid[:176, :192]
        grey = 100 + 40 * np.sin(rows / (5 + number)) + 40 * np.sin(columns / 9) + random.normal(0, 3, rows.shape)
        Image.fromarray(np.repeat(grey[:, :, None], 3, 2).clip(0, 255).astype(np.uint8)).save(
            pictures / f"{number}.png"
        )
    (pictures / "labels_seg/0.txt").write_text("0 0.2 0.2 0.8 0.2 0.8 0.8 0.2 0.8\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assets, "fetch", lambda *_: weights)
        places = ["--bundle", str(bundle), "--results", str(folder)]
        assert main(["visual", str(pictures), "--levels", "1,6", *places]) == 0
    figures: dict[str, Any] = json.loads((folder / "visual.json").read_text())
    return figures


def test_every_level_has_a_row_for_each_decoder_with_the_same_bits(results: dict[str, Any]) -> None:
    rows = {(row["level"], row["decoder"]): row for row in results["decoders"]}
    assert sorted(rows) == [(level, name) for level in (1, 6) for name in ("before finetuning", "decoder")]
    for level in (1, 6):
        after, before = rows[level, "decoder"], rows[level, "before finetuning"]
        assert {**after, "decoder": ""} == {**before, "decoder": ""}
    coarse, fine = rows[1, "decoder"], rows[6, "decoder"]
    assert coarse["bpp"] < fine["bpp"]
    for measure in ("psnr", "psnr_objects", "psnr_background", "ms_ssim"):
        assert coarse[measure] < fine[measure], measure
    assert coarse["perceptual"] > fine["perceptual"] > 0


def test_a_decoder_that_did_not_change_shows_no_change(results: dict[str, Any]) -> None:
    for row in results["finetuning"]:
        assert (row["perceptual_percent"], row["low"], row["high"], row["psnr_db"]) == (0, 0, 0, 0)


def test_the_planted_pattern_fails_the_test_at_every_stride(results: dict[str, Any]) -> None:
    assert [row["planted_stride"] for row in results["control"]] == [2, 4, 8, 16]
    for row in results["control"]:
        assert row[f"C{row['planted_stride']}"] > 1
        assert row["checkerboard"] == "there"


def test_a_folder_without_pictures_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assets, "fetch", lambda *_: write_random_weights(tmp_path / "network.pth"))
        assert main(["visual", str(tmp_path), "--results", str(tmp_path)]) == 1
    assert f"{tmp_path} holds no pictures" in capsys.readouterr().err
