"""The ablation: every choice is run from the same start, measured once, and told in a table."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from icm_train.ablation.page import page
from icm_train.ablation.runs import (
    Ablation,
    AblationConfig,
    Variant,
    finetune_variants,
    load_ablation_config,
    object_variants,
)
from icm_train.cli import main
from icm_train.stages.finetune import FinetuneConfig
from icm_train.stages.object_region import ObjectRegionConfig
from tests.training.conftest import borrow

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "benchmarks/results/ablation.json"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def changed(variant: Variant, middle: Any) -> dict[str, Any]:
    """The settings in which a variant differs from the middle one."""
    assert variant.settings is not None
    return {name: value for name, value in asdict(variant.settings).items() if value != asdict(middle)[name]}


def test_finetuning_is_run_with_every_choice_of_the_paper_and_both_controls() -> None:
    config = AblationConfig()
    untouched, *runs = finetune_variants(config)
    assert untouched.settings is None
    middle = config.finetune
    differences = [changed(run, middle) for run in runs]
    assert {} in differences
    assert {"lambda_adv": 0.0} in differences
    for choice in (
        {"layers": "all"},
        {"patch_size": 32},
        {"patches": 1},
        {"patches": 5},
        {"discriminator_loss": "bce"},
        {"discriminator_loss": "lsgan"},
        {"lambda_adv": middle.lambda_adv * 4},
        {"lambda_adv": middle.lambda_adv / 4},
        {"feature_weight": config.proxy_weight},
        {
            "feature_weight": config.proxy_weight,
            "pattern_weight": config.pattern_weight,
            "grain": config.grain,
            "object_weight": config.object_weight,
        },
    ):
        assert choice in differences


def test_object_learning_is_run_at_every_background_and_area_beside_plain_mse() -> None:
    untouched, *runs = object_variants(AblationConfig())
    assert untouched.settings is None
    settings = [run.settings for run in runs if isinstance(run.settings, ObjectRegionConfig)]
    choices = {(one.background, one.area) for one in settings}
    assert choices >= {(0.0, "pixel"), (0.0, "mask"), (0.05, "pixel"), (0.05, "mask"), (1.0, "pixel")}
    assert {one.measure for one in settings} == {"squared", "visible"}
    assert {one.feature_weight for one in settings} == {0.0, AblationConfig().object_feature_weight}


@pytest.fixture
def small(feature_weights: Path) -> AblationConfig:
    finetune = FinetuneConfig(steps=2, warmup=1, crop=64, patches=1, rate=0.3, average=0.0)
    region = ObjectRegionConfig(steps=2, crop=64, save_every=2)
    finetune = replace(finetune, features=str(feature_weights))
    return AblationConfig(finetune, region, levels=(2,), crops=2, crop=192)


def test_rows_hold_what_was_measured_and_a_second_run_measures_nothing_again(
    small: AblationConfig, trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "icm_train.ablation.runs")
    variants = [Variant("as it is", None), Variant("finetuned", small.finetune)]

    def rows(config: AblationConfig) -> list[dict[str, Any]]:
        caplog.clear()
        ablation = Ablation(config, trained / "photos.u8", tmp_path, None)
        return ablation.rows("finetune", variants, trained / "base.pt")

    first = rows(small)
    assert [row["variant"] for row in first] == ["as it is", "finetuned"]
    assert len(caplog.messages) == 2
    assert first[0]["bpp"] == first[1]["bpp"]
    assert first[0]["psnr"] != first[1]["psnr"]
    expected = {"object_psnr", "background_psnr", "ms_ssim", "feature_distance", "checkerboard_2", "checkerboard_16"}
    assert expected <= set(first[0])
    assert rows(small) == first
    assert not caplog.messages
    rows(replace(small, levels=(3,)))
    assert len(caplog.messages) == 2


def test_what_a_run_with_grain_is_worth_is_measured_with_it(
    small: AblationConfig, trained: Path, tmp_path: Path
) -> None:
    still = replace(small.finetune, rate=0.0)
    grained = replace(still, grain=(9.0,) * 8)
    ablation = Ablation(small, trained / "photos.u8", tmp_path, None)
    variants = [Variant("without", still), Variant("with", grained)]
    without, with_grain = ablation.rows("finetune", variants, trained / "base.pt")
    assert with_grain["bpp"] == without["bpp"]
    assert with_grain["psnr"] < without["psnr"]


def test_object_variants_change_the_rate(small: AblationConfig, trained: Path, tmp_path: Path) -> None:
    ablation = Ablation(small, trained / "photos.u8", tmp_path, None)
    hasty = replace(small.object, rate=1e-2, average=0.0)
    variants = [Variant("as it is", None), Variant("trained", hasty)]
    before, after = ablation.rows("object", variants, trained / "base.pt")
    assert before["bpp"] != after["bpp"]
    assert before["object_psnr"] != after["object_psnr"]


def test_the_page_tells_each_run_with_the_settings_of_the_middle_one() -> None:
    config = AblationConfig()
    rows = [
        {"stage": "finetune", "variant": name, "level": level, "psnr": psnr, "feature_distance": 0.25}
        for level in (1, 4)
        for name, psnr in (("no finetuning", 25.125), ("adversarial", 25.0))
    ]
    text = page({"config": asdict(config), "rows": rows, "detector": None, "detector_photos": 0})
    assert "Quality level 1" in text
    assert "Quality level 4" in text
    assert "| no finetuning | 25.12 | 0.2500 |" in text
    assert f"lambda_adv {config.finetune.lambda_adv}" in text
    assert "Object-region" not in text
    assert "no detector" in text


def test_the_command_needs_a_start(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    borrow(trained, tmp_path, "photos.u8", "photos.json", "photos.masks")
    assert main(["ablate", "--folder", str(tmp_path)]) == 2
    assert "--finetune-start" in capsys.readouterr().err


def test_the_config_that_ships_can_be_read() -> None:
    assert load_ablation_config(ROOT / "training/icm_train/configs/ablation.yaml").finetune.steps > 0


@pytest.mark.skipif(not RESULTS.exists(), reason="the ablation was not run yet")
def test_the_page_that_ships_is_the_one_of_the_measured_rows() -> None:
    assert (ROOT / "docs/ablation.md").read_text() == page(json.loads(RESULTS.read_text()))
