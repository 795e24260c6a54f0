"""Adversarial finetuning moves the layers it is told to and nothing that decides a bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from icm.errors import ConfigError
from icm_train.models.networks import NetworkConfig, SynthesisTransform
from icm_train.stages.finetune import FinetuneConfig, Finetuner, finetuned_synthesis, moving_parameters, train
from icm_train.weights.checkpoint import load_codec
from tests.training.conftest import borrow
from tests.training.feature_weights import write_random_classifier

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FIRST_TWO = ("entry.", "blocks_deep.0.")


def settings(**changes: Any) -> FinetuneConfig:
    values: dict[str, Any] = {"steps": 3, "warmup": 1, "crop": 64, "patches": 1, "rate": 1e-3, "save_every": 2}
    return FinetuneConfig(**values | changes)


def finetuned(config: FinetuneConfig, trained: Path, folder: Path) -> tuple[Finetuner, set[str]]:
    """A finished run, and the names of the codec's tensors that it changed."""
    run = train(config, trained / "photos.u8", folder, trained / "base.pt")
    before = load_codec(trained / "base.pt")[0].state_dict()
    after = run.codec.state_dict()
    return run, {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


@pytest.mark.parametrize("adversary", ["bce", "lsgan", "hinge", None])
def test_only_the_first_two_layers_of_the_synthesis_move(trained: Path, tmp_path: Path, adversary: Any) -> None:
    config = settings(discriminator_loss=adversary) if adversary else settings(lambda_adv=0.0)
    _, changed = finetuned(config, trained, tmp_path)
    inside = {f"synthesis.{layer}" for layer in FIRST_TWO}
    assert changed
    assert all(name.startswith(tuple(inside)) for name in changed)
    assert {name.split(".")[1] for name in changed} == {"entry", "blocks_deep"}


def test_of_residual_blocks_the_first_two_layers_are_the_entry_and_the_deep_block() -> None:
    moving = moving_parameters(SynthesisTransform(NetworkConfig(12, 4, 16, 16, 16, 16, 8, 8, 8)), "first_two")
    assert {name.partition(".")[0] for name in moving} == {"entry", "block_deep"}


def test_with_all_layers_the_whole_synthesis_moves_and_still_nothing_else(trained: Path, tmp_path: Path) -> None:
    _, changed = finetuned(settings(layers="all"), trained, tmp_path)
    assert {name.partition(".")[0] for name in changed} == {"synthesis"}
    assert "synthesis.linear.weight" in changed


def test_what_ships_moves_in_the_same_layers_only(trained: Path, tmp_path: Path) -> None:
    train(settings(), trained / "photos.u8", tmp_path, trained / "base.pt")
    before = load_codec(trained / "base.pt")[0].synthesis.state_dict()
    after = finetuned_synthesis(tmp_path / "finetune.pt", trained / "base.pt")
    assert set(before) == set(after)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith(FIRST_TWO) for name in changed)


def test_the_decoder_stands_still_while_the_discriminator_warms_up(trained: Path, tmp_path: Path) -> None:
    run, changed = finetuned(settings(warmup=3), trained, tmp_path)
    assert not changed
    assert any(state["step"] > 0 for state in run.opponent.state.values())


def test_without_an_adversarial_term_the_discriminator_never_learns(trained: Path, tmp_path: Path) -> None:
    run, _ = finetuned(settings(lambda_adv=0.0), trained, tmp_path)
    assert not run.opponent.state


def test_the_patterns_term_needs_pictures_that_hold_its_longest_period(trained: Path, tmp_path: Path) -> None:
    _, changed = finetuned(settings(pattern_weight=5.0, crop=128), trained, tmp_path / "large")
    assert changed
    with pytest.raises(ConfigError, match=r"finetune\.crop 64 is too small"):
        train(settings(pattern_weight=5.0), trained / "photos.u8", tmp_path / "small", trained / "base.pt")


def test_the_term_of_objects_needs_their_masks(trained: Path, tmp_path: Path, feature_weights: Path) -> None:
    networks = {"features": str(feature_weights), "efficientnet": str(write_random_classifier(tmp_path / "other.pth"))}
    config = settings(object_weight=5.0, lambda_adv=0.0, warmup=0, **networks)
    _, changed = finetuned(config, trained, tmp_path / "with")
    assert changed
    borrow(trained, tmp_path, "photos.u8", "photos.json")
    with pytest.raises(ConfigError, match="has no masks"):
        train(config, tmp_path / "photos.u8", tmp_path / "without", trained / "base.pt")


def test_the_adversary_sees_grain_and_the_squared_error_does_not(trained: Path, tmp_path: Path) -> None:
    bare, grained = (
        Finetuner(settings(lambda_adv=weight, grain=grain, warmup=9), trained / "photos.u8", trained / "base.pt")
        for weight, grain in ((1.0, ()), (1.0, (40.0,) * 8))
    )
    before, after = (run.step(0, 1.0) for run in (bare, grained))
    assert torch.equal(before["l2"], after["l2"])
    assert not torch.equal(before["discriminator"], after["discriminator"])


def test_the_term_of_objects_sees_as_much_grain_as_detectors_will(
    trained: Path, tmp_path: Path, feature_weights: Path
) -> None:
    networks = {"features": str(feature_weights), "efficientnet": str(write_random_classifier(tmp_path / "other.pth"))}
    config = {"object_weight": 5.0, "lambda_adv": 0.0, "warmup": 9, **networks}

    def apart(**changes: Any) -> float:
        run = Finetuner(settings(**config | changes), trained / "photos.u8", trained / "base.pt")
        return float(run.step(0, 1.0)["objects"])

    bare, grain = apart(), {"grain": (40.0,) * 8}
    assert apart(**grain) != bare
    assert apart(**grain, detector_grain=0.0) == bare
    half_strength = apart(grain=(20.0,) * 8)
    assert apart(**grain, detector_grain=0.5) == pytest.approx(half_strength, rel=1e-4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"detector_grain": 1.5}, r"finetune\.detector_grain 1\.5 is no share of the grain"),
        ({"detector_grain_after": -1.0}, r"finetune\.detector_grain_after -1\.0 is no share of the grain"),
        ({"grain": (3.0,) * 7}, r"finetune\.grain has to be .* of each of the 8 levels"),
        ({"people_grain": (-3.0,) * 8}, r"finetune\.people_grain has to be .* of each of the 8 levels"),
    ],
)
def test_grain_that_is_none_is_refused_before_the_first_step(trained: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Finetuner(settings(**wrong), trained / "photos.u8", trained / "base.pt")


def test_a_bundle_tells_what_grain_people_and_detectors_are_shown() -> None:
    grain = FinetuneConfig(grain=(4.0, 2.0), detector_grain=0.5, detector_grain_after=0.0).bundle_grain(2)
    assert grain == ([4.0, 2.0], [2.0, 1.0], [])
    assert FinetuneConfig(grain=(4.0, 2.0), people_grain=(5.0, 3.0)).bundle_grain(2).grain == [5.0, 3.0]
    assert FinetuneConfig(grain=(4.0, 2.0)).bundle_grain(2) == ([4.0, 2.0],) * 3
    assert FinetuneConfig(grain=(4.0, 2.0), detector_grain=0.5).bundle_grain(2).detector_grain_after == [2.0, 1.0]


def test_a_run_that_was_stopped_goes_on_from_its_checkpoint(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    train(settings(steps=2), trained / "photos.u8", tmp_path, trained / "base.pt")
    train(settings(steps=4), trained / "photos.u8", tmp_path, trained / "base.pt")
    assert "finetune: resuming at step 2" in caplog.text
    assert torch.load(tmp_path / "finetune.pt", weights_only=True)["step"] == 4


def test_the_same_seed_finetunes_to_the_same_weights(trained: Path, tmp_path: Path) -> None:
    weights = []
    for name in ("first", "second"):
        train(settings(), trained / "photos.u8", tmp_path / name, trained / "base.pt")
        weights.append(finetuned_synthesis(tmp_path / name / "finetune.pt", trained / "base.pt"))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_decoder_finetuned_from_another_checkpoint_is_refused(trained: Path, tmp_path: Path) -> None:
    borrow(trained, tmp_path, "photos.u8", "photos.json")
    train(settings(steps=1), tmp_path / "photos.u8", tmp_path, trained / "base.pt")
    state = torch.load(trained / "base.pt", weights_only=True)
    other = tmp_path / "other.pt"
    torch.save(state | {"step": state["step"] + 1}, other)
    with pytest.raises(ConfigError, match="finetuned from another checkpoint"):
        finetuned_synthesis(tmp_path / "finetune.pt", other)
    with pytest.raises(ConfigError, match="finetuned from another checkpoint"):
        train(settings(steps=2), tmp_path / "photos.u8", tmp_path, other)
