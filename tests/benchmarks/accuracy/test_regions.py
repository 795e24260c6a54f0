"""``icm-bench regions``: bits are charged to where they are spent, and masks of objects save what lies around them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icm_bench import detectors
from icm_bench.cli import main


def half_busy(height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A flat left half beside a noisy right one."""
    picture = np.full((height, width, 3), 120, np.uint8)
    noise = np.random.default_rng(1).integers(0, 256, (height, width - width // 2, 3), np.uint8)
    picture[:, width // 2 :] = noise
    return picture


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of two photos whose left half is an object, before a detector that sees it if it is left as it is."""
    folder = tmp_path_factory.mktemp("regions")
    for name in ("images", "labels_boxes", "labels_seg"):
        (folder / name).mkdir()
    for number in range(2):
        Image.fromarray(half_busy(96, 128 + 64 * number)).save(folder / f"images/{number}.png")
        (folder / f"labels_boxes/{number}.txt").write_text("0 0.25 0.5 0.5 1\n")
        (folder / f"labels_seg/{number}.txt").write_text("0 0 0 0.48 0 0.48 1 0 1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detectors, "load", lambda _: lambda image: [(0, 0.9, 0, 0, image.shape[1] / 2, 96)])
        places = ["--photos", str(folder), "--results", str(folder)]
        assert main(["regions", "--levels", "2,4", "--coarser", "0,2", *places]) == 0
    figures: dict[str, Any] = json.loads((folder / "regions.json").read_text())
    return figures


def test_the_parts_share_out_all_of_the_area_and_the_bits(results: dict[str, Any]) -> None:
    for level in (2, 4):
        rows = {row["part"]: row for row in results["where"] if row["level"] == level}
        assert list(rows) == ["objects", "beside", "elsewhere"]
        for share in ("share_of_area", "share_of_bits"):
            assert sum(row[share] for row in rows.values()) == pytest.approx(1, abs=0.002)
        assert rows["objects"]["share_of_area"] == pytest.approx(0.5)
        assert rows["objects"]["bpp"] < 0.1 * rows["elsewhere"]["bpp"]
        assert rows["objects"]["psnr"] > rows["elsewhere"]["psnr"]


def test_coarser_surroundings_save_bits_and_leave_the_objects(results: dict[str, Any]) -> None:
    rows = {(row["coarser_by"], row["level"]): row for row in results["masked"]}
    assert sorted(rows) == [(0, 2), (0, 4), (2, 2), (2, 4)]
    for level in (2, 4):
        assert rows[2, level]["bpp"] < 0.8 * rows[0, level]["bpp"]
        assert rows[2, level]["map"] == rows[0, level]["map"] == 1
