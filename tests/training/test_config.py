"""Settings of a training run: what means nothing is named, with the file and the section."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from icm.errors import ConfigError
from icm_train.cli import main
from icm_train.config import load_config
from icm_train.learning.duel import load_duels
from icm_train.long_run.config import load_long_config

CONFIGS = [
    path
    for path in (Path(__file__).parents[2] / "training/icm_train/configs").glob("*.yaml")
    if path.stem != "ablation"
]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("base: {stepz: 3}", "base has no setting stepz"),
        ("sage: 1", "may stand at the top"),
        ("[1, 2]", "must hold settings by name"),
        ("base: 3", "base must hold settings by name"),
        ("base: {batch: 7}", "multiple of the number of lambdas"),
        ("finetune: {crop: 100}", "finetune.crop one of 64"),
        ("base: {steps: many}", "base.steps is 'many'"),
        ("object: {background: [1]}", r"object.background is \[1\]"),
        ("object: {area: circle}", "object.area is 'circle'"),
        ("network: {lambdas: [0.1, x]}", "network.lambdas.1 is 'x'"),
        ("finetune: {patch_size: 48}", "finetune.patch_size is 48"),
        ("finetune: {patches: 2}", "finetune.patches is 2"),
        ("base: {3: 4}", "YAML reads the name 3 as a number"),
        ("base: {steps: ", "cannot read the training config"),
    ],
)
def test_a_config_that_means_nothing_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message) as refused:
        load_config(path)
    assert str(path) in str(refused.value)


def test_the_command_says_in_one_line_what_is_wrong_with_its_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("base: {steps: many}")
    assert main(["base", "--config", str(path), "--folder", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_what_a_config_leaves_out_has_its_default_and_lists_become_what_the_settings_hold(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("network: {lambdas: [0.1, 0.2]}\nfinetune: {rate: 1e-4, layers: all}")
    config = load_config(path)
    assert config.network.lambdas == (0.1, 0.2)
    assert config.finetune.rate == 1e-4  # YAML reads a number without a point as text
    assert config.finetune.layers == "all"
    assert config.base.steps == type(config.base)().steps


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_that_ships_can_be_read(path: Path) -> None:
    load: Callable[[Path], object] = load_config
    if path.stem.startswith("long-run"):
        load = load_long_config
    elif path.stem == "duels":
        load = load_duels
    load(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("colour: red", "has no setting colour"),
        ("network: {blocks: round}", "blocks is 'round'"),
        ("recipe: {batch: 3}", "recipe.batch one of the number of lambdas"),
        ("recipe: {crop: 100}", "recipe.crop must be a multiple of 64"),
        ("save_every: often", "save_every is 'often'"),
        ("save_every: 0", "save_every and measure_every must be at least 1"),
        ("recipe: {batch: 0}", "recipe.batch must be at least 1"),
    ],
)
def test_a_long_runs_setting_that_means_nothing_is_named(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        load_long_config(path)
