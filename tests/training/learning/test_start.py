"""What a codec takes over from a trained one: everything of its own kind, else all but the branches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from icm.errors import ConfigError
from icm_train.learning.start import with_what_fits
from icm_train.models.codec import TrainableCodec
from icm_train.models.networks import NetworkConfig
from icm_train.weights.checkpoint import load_codec
from icm_train.weights.saved_run import SavedFacts, save_weights
from tests.bundles import ICM_1
from tests.training.small_run import SMALL


def codec(seed: int, config: NetworkConfig = SMALL) -> TrainableCodec:
    torch.manual_seed(seed)
    made = TrainableCodec(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def taken(fresh: TrainableCodec, trained: TrainableCodec, *, branches: bool = True) -> set[str]:
    state = with_what_fits(fresh, trained, branches=branches).state_dict()
    return {name for name, value in trained.named_parameters() if name in state and torch.equal(state[name], value)}


def test_of_its_own_kind_it_takes_every_weight() -> None:
    trained = codec(1)
    assert taken(codec(2), trained) == set(dict(trained.named_parameters()))


def test_branches_stay_untrained_where_that_is_wanted() -> None:
    names = taken(codec(2), codec(1), branches=False)
    assert "gains.log_gain" in names
    assert not any(name.startswith(("analysis.", "synthesis.")) and ".linear." not in name for name in names)


def test_of_another_kind_it_takes_the_linear_transforms_and_the_entropy_model() -> None:
    trained = codec(1, replace(SMALL, blocks="residual"))
    names = taken(codec(2), trained)
    shared = {"analysis.linear.weight", "synthesis.linear.weight", "gains.log_gain", "hyper_synthesis.last.weight"}
    assert shared <= names
    assert not any(name.startswith(("analysis.", "synthesis.")) and ".linear." not in name for name in names)


def test_with_a_learned_shape_it_takes_all_but_the_shape() -> None:
    trained = codec(1)
    fresh = codec(2, replace(SMALL, likelihood="mixture"))
    assert taken(fresh, trained) == set(dict(trained.named_parameters()))


def test_what_shares_no_widths_is_refused() -> None:
    with pytest.raises(ConfigError, match="it differs in luma"):
        with_what_fits(codec(1), codec(2, replace(SMALL, luma=28)), branches=True)


def test_the_bundle_that_the_long_run_begins_with_fits_its_networks() -> None:
    widths = {"encoder_wide": 16, "encoder_deep": 16, "decoder_deep": 16, "decoder_wide": 16, "decoder_fine": 16}
    fresh = TrainableCodec(NetworkConfig(blocks="gated", luma=176, chroma=40, **widths))
    trained = load_codec(ICM_1)[0]
    assert "hyper_analysis.first.weight" in taken(fresh, trained)


def test_the_saved_weights_of_a_long_run_are_a_start_for_every_stage(tmp_path: Path) -> None:
    trained = codec(1)
    save_weights(tmp_path / "saved.pt", trained, SavedFacts(9, 0.5, 1.0))
    back, told = load_codec(tmp_path / "saved.pt")
    assert back.config == trained.config
    assert told["config"] == {"long_run": {"step": 9, "hours": 0.5, "against_avif": 1.0}}
    assert torch.allclose(back.gains.log_gain, trained.gains.log_gain, rtol=1e-3)
