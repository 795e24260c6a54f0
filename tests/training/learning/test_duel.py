"""Duels: each variant has its minutes, what was run stands, and the table says who won."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from icm.errors import ConfigError
from icm_train.cli import main
from icm_train.learning.duel import Outcome, load_duels, read_outcomes, table
from tests.training.small_run import CONFIG_YAML

pytestmark = pytest.mark.usefixtures("one_thread")

SHARED = {name: value for name, value in yaml.safe_load(CONFIG_YAML).items() if name in ("network", "recipe")}
VARIANTS = {
    "plain": {"says": "as it is"},
    "unaware": {"says": "no level scales", "against": "plain", "network": {"level_scales": False}},
}


def written(path: Path, minutes: float = 0.02, variants: object = VARIANTS) -> Path:
    path.write_text(yaml.safe_dump(SHARED | {"minutes": minutes, "variants": variants}))
    return path


def outcome(name: str, against: str | None, factor: float) -> Outcome:
    bpp = [factor * value for value in (0.1, 0.2, 0.4)]
    return Outcome(name, f"says {name}", against, 2.0, 600, 0, bpp, [27.0, 30.0, 33.0], 12.34, {})


def test_the_table_compares_each_variant_with_its_opponent() -> None:
    lines = table([outcome("old", None, 1.0), outcome("new", "old", 0.9)]).splitlines()
    assert lines[2] == "| says old (`old`) | 600 | 200 | - | +12.3 % |"
    assert lines[3] == "| says new (`new`) | 600 | 200 | -10.0 % old | +12.3 % |"


def test_variants_are_run_once_and_again_only_when_they_change(
    shard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.json"
    arguments = ["duel", "--folder", str(shard.parent), "--results", str(results)]
    config = written(tmp_path / "duels.yaml")
    assert main([*arguments, "--config", str(config)]) == 0
    assert "no level scales (`unaware`)" in capsys.readouterr().out
    first = read_outcomes(results)
    assert [one.name for one in first] == ["plain", "unaware"]
    assert all(one.steps > 0 and len(one.psnr) == 8 for one in first)
    assert first[0].settings["network"]["level_scales"]
    assert not first[1].settings["network"]["level_scales"]
    before = results.read_bytes()
    assert main([*arguments, "--config", str(config)]) == 0
    assert results.read_bytes() == before
    changed = VARIANTS | {"unaware": VARIANTS["unaware"] | {"recipe": {"rate": 1e-3}}}
    assert main([*arguments, "--config", str(written(config, variants=changed)), "--only", "unaware"]) == 0
    second = read_outcomes(results)
    assert second[0] == first[0]
    assert second[1].settings["recipe"]["rate"] == 1e-3


@pytest.mark.parametrize(
    ("variants", "told"),
    [
        ({"a": {"says": "x", "colour": "red"}}, "a has no setting colour"),
        ({"a": {"network": 3}}, "a.network is 3"),
        (["a"], r"variants is \['a'\]"),
        ({"a": {"against": "b"}}, "a is against b, which is not there"),
        ({"a": {"recipe": {"optimiser": "magic"}}}, "a.optimiser is 'magic'"),
        ({"a": {"recipe": {"crop": 100}}}, "a: recipe.crop must be a multiple of 64"),
        ({"a": {"network": {"widht": 3}}}, "a has no setting widht"),
    ],
)
def test_a_variant_that_means_nothing_is_named(variants: object, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        load_duels(written(tmp_path / "duels.yaml", variants=variants))


@pytest.mark.parametrize(("minutes", "told"), [(0, "minutes must be above 0"), ("ten", "minutes is 'ten'")])
def test_minutes_that_are_none_are_named(minutes: float, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        load_duels(written(tmp_path / "duels.yaml", minutes))


def test_a_variant_that_is_not_there_is_named(shard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["duel", "--folder", str(shard.parent), "--config", str(written(tmp_path / "duels.yaml"))]
    assert main([*arguments, "--results", str(tmp_path / "results.json"), "--only", "nobody"]) == 2
    assert "there is no variant nobody" in capsys.readouterr().err


def test_the_duels_that_ship_can_be_read() -> None:
    duels = load_duels(Path("training/icm_train/configs/duels.yaml"))
    names = [variant.name for variant in duels.variants]
    assert len(names) == len(set(names))
    assert all(variant.against in (None, *names) for variant in duels.variants)
    stored = Path("benchmarks/results/duels.json")
    assert {one["name"] for one in json.loads(stored.read_text())} <= set(names)
