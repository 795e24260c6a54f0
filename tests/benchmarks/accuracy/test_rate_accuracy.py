"""``icm-bench rate-accuracy``: nothing is measured twice, what was measured stays, and comparisons are paired."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icm_bench import detectors
from icm_bench.accuracy.comparison import Curves, bd_rows, finetuning_rows
from icm_bench.accuracy.measurement import Measurement, Measurements, resamples
from icm_bench.accuracy.picture_codecs.base import Picture
from icm_bench.accuracy.picture_codecs.files import FileCodec
from icm_bench.cli import main
from icm_train.evaluation.detection import Detections, load_photos

SAMPLES = 20
RED = np.array([200, 30, 30])


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icm_bench.accuracy.measurement.RESAMPLES", SAMPLES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five photos of a red box each."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for kind in ("images", "labels_boxes"):
        (folder / kind).mkdir()
    for number in range(5):
        image = random.integers(60, 120, (96, 128, 3)).astype(np.uint8)
        left, top = random.integers(4, 60), random.integers(4, 40)
        image[top : top + 40, left : left + 50] = RED
        Image.fromarray(image).save(folder / f"images/{number}.png")
        label = f"0 {(left + 25) / 128} {(top + 20) / 96} {50 / 128} {40 / 96}\n"
        (folder / f"labels_boxes/{number}.txt").write_text(label)
    return folder


class RedBoxes:
    """Finds the red box, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, image: Picture) -> Detections:
        self.asked += 1
        rows, columns = np.nonzero(np.abs(image.astype(int) - RED).max(2) < 40)
        if not rows.size:
            return []
        box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
        return [(0, 0.9, *box)]


def measurement(bits: float, worth: float) -> Measurement:
    random = np.random.default_rng(1)
    return Measurement(
        np.full(4, round(1000 * bits)), np.full(4, 1000), np.full(4, 30.0),
        np.array([worth, worth]), worth + random.normal(0, 0.01, (SAMPLES, 2)),
    )  # fmt: skip


def test_a_second_run_measures_nothing_again_and_another_detector_only_itself(folder: Path, tmp_path: Path) -> None:
    photos, first, second = load_photos(folder), RedBoxes(), RedBoxes()
    codec = FileCodec("AVIF", 60)
    before = Measurements(photos, {"first": first}, tmp_path).measure(codec)["first"]
    both = Measurements(photos, {"first": first, "second": second}, tmp_path).measure(codec)
    assert (first.asked, second.asked) == (5, 5)
    for name, value in vars(before).items():
        assert np.array_equal(value, getattr(both["first"], name)), name
    assert both["second"].bpp() == before.bpp()


def test_other_photos_are_measured_anew(folder: Path, tmp_path: Path) -> None:
    photos, detect = load_photos(folder), RedBoxes()
    for chosen in (photos, photos[:3]):
        Measurements(chosen, {"red": detect}, tmp_path).measure(FileCodec("JPEG", 80))
    assert detect.asked == 8


def test_every_codec_and_detector_sees_the_same_samples() -> None:
    assert np.array_equal(resamples(9), resamples(9))
    assert resamples(9).shape == (SAMPLES, 9)


def test_half_the_bits_for_the_same_worth_is_minus_fifty_per_cent_in_every_sample() -> None:
    curves = Curves(4)
    for bits, worth in ((0.1, 0.2), (0.2, 0.3), (0.4, 0.4)):
        curves.add("red", "ours", measurement(bits, worth))
        curves.add("red", "JPEG", measurement(2 * bits, worth))
    row = bd_rows(curves, [("ours", "JPEG")])[0]
    assert row["bd_rate"] == row["low"] == row["high"] == -50.0
    assert (row["detector"], row["codec"], row["against"]) == ("red", "ours", "JPEG")
    assert (row["from"], row["to"]) == (0.2, 0.4)


def test_finetuning_is_judged_level_by_level() -> None:
    curves = Curves(4)
    for bits, before, after in ((0.1, 0.2, 0.198), (0.2, 0.4, 0.404)):
        curves.add("red", "ours", measurement(bits, after))
        curves.add("red", "ours before", measurement(bits, before))
    row = finetuning_rows(curves, [("ours", "ours before"), ("other", "other before")])[0]
    assert row["change"] == 0
    assert row["worst_level"] == -1
    assert row["low"] < 0 < row["high"]


@pytest.fixture
def bench(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Runs the command with a detector that is quick; its results."""
    weights = tmp_path / "red.pt"
    weights.write_bytes(b"red")
    monkeypatch.setattr(detectors, "load", lambda path: RedBoxes())

    def run(*arguments: str) -> dict[str, Any]:
        places = ("--photos", str(folder), "--results", str(tmp_path), "--cache", str(tmp_path / "cache"))
        assert main(["rate-accuracy", *places, "--detector", str(weights), *arguments]) == 0
        figures: dict[str, Any] = json.loads((tmp_path / "rate_accuracy.json").read_text())
        return figures

    return run


def test_rows_of_codecs_that_were_not_measured_again_are_kept(
    bench: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    first = bench("--codecs", "source,JPEG")
    second = bench("--codecs", "ours,WEBP", "--levels", "0,7")
    kept = [row for row in second["rows"] if row["codec"] in ("source", "JPEG")]
    assert sorted(map(str, kept)) == sorted(map(str, first["rows"]))
    assert {row["codec"] for row in second["rows"]} > {"source", "JPEG", "WEBP"}
    assert {row["against"] for row in second["bd_rates"]} == {"WEBP"}
    assert (tmp_path / "rate_accuracy.png").stat().st_size > 10_000


def test_a_row_tells_the_detector_the_bits_and_the_interval(bench: Callable[..., dict[str, Any]]) -> None:
    rows = bench("--codecs", "source,JPEG")["rows"]
    source = next(row for row in rows if row["codec"] == "source")
    assert (source["detector"], source["bpp"], source["map50"]) == ("red", 24, 1)
    coarse = next(row for row in rows if row["codec"] == "JPEG")
    assert coarse["map_low"] <= coarse["map"] <= coarse["map_high"]
    assert coarse["map_low"] < coarse["map_high"] < 1
