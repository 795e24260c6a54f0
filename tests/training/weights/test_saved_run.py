"""Averaged weights as one small file: a run on a fresh machine goes on from them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from icm.errors import ConfigError
from icm_train.cli import main
from icm_train.long_run.run import LongRun
from icm_train.models.codec import TrainableCodec
from icm_train.models.networks import NetworkConfig
from icm_train.weights.saved_run import LARGEST, SavedFacts, load_saved, save_weights
from tests.training.small_run import CONFIG, CONFIG_YAML, SMALL


def codec() -> TrainableCodec:
    torch.manual_seed(2)
    return TrainableCodec(SMALL)


def test_the_codec_comes_back_as_it_was_but_for_half_precision(tmp_path: Path) -> None:
    before = codec()
    save_weights(tmp_path / "saved.pt", before, SavedFacts(1234, 1.5, -3.2))
    after, facts = load_saved(tmp_path / "saved.pt")
    assert facts == SavedFacts(1234, 1.5, -3.2)
    assert after.config == SMALL
    for name, value in before.named_parameters():
        assert torch.allclose(value, after.get_parameter(name), rtol=1e-3, atol=1e-6), name
    for name, value in before.named_buffers():
        assert torch.equal(value, after.get_buffer(name)), name


def test_constants_are_no_part_of_the_file(tmp_path: Path) -> None:
    # A least likelihood of 1e-9 is 0 in half precision, and its logarithm minus infinity.
    save_weights(tmp_path / "saved.pt", codec(), SavedFacts(1, 1.0, 0.0))
    stored = torch.load(tmp_path / "saved.pt", weights_only=True)["weights"]
    assert set(stored) == set(dict(codec().named_parameters()))
    bits = load_saved(tmp_path / "saved.pt")[0].latent_bits
    far = bits(torch.full((1,), 500.0), torch.zeros(1), torch.zeros(1))
    assert bool(far.isfinite().all())


def test_the_networks_of_the_long_run_fit_into_the_file(tmp_path: Path) -> None:
    widths = {"encoder_wide": 160, "encoder_deep": 256, "decoder_deep": 320, "decoder_wide": 176, "decoder_fine": 64}
    whole = TrainableCodec(NetworkConfig(blocks="gated", luma=176, chroma=40, **widths))
    assert save_weights(tmp_path / "saved.pt", whole, SavedFacts(0, 0, 0)) <= LARGEST


def test_a_weight_beyond_half_precision_is_refused(tmp_path: Path) -> None:
    spoilt = codec()
    with torch.no_grad():
        spoilt.gains.log_gain.fill_(1e6)
    with pytest.raises(ConfigError, match=r"gains\.log_gain cannot be kept"):
        save_weights(tmp_path / "saved.pt", spoilt, SavedFacts(0, 0, 0))
    assert not (tmp_path / "saved.pt").exists()


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04"])
def test_a_file_that_holds_no_weights_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "saved.pt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"saved\.pt holds no weights of a long run"):
        load_saved(tmp_path / "saved.pt")


def test_a_fresh_machine_goes_on_from_them_with_the_optimiser_anew(shard: Path, tmp_path: Path) -> None:
    save_weights(tmp_path / "saved.pt", codec(), SavedFacts(700, 2.0, 10.0))
    run = LongRun(CONFIG, shard, tmp_path / "run", tmp_path / "saved.pt")
    assert (run.learner.step, run.learner.optimiser_since) == (700, 700)
    run.run(steps=705)
    # Once it has a checkpoint of its own, that counts.
    assert LongRun(CONFIG, shard, tmp_path / "run", tmp_path / "saved.pt").learner.step == 705


def test_weights_are_replaced_only_by_ones_that_take_five_per_cent_fewer_bits(
    shard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG_YAML)
    run, saved = tmp_path / "run", tmp_path / "saved.pt"
    run.mkdir()
    for path in shard.parent.iterdir():
        (run / path.name).symlink_to(path)
    files = ["--folder", str(run), "--config", str(config), "--saved", str(saved)]
    assert main(["long", "save", *files]) == 2
    assert "there is no checkpoint" in capsys.readouterr().err
    assert main(["long", "run", *files, "--steps", "5"]) == 0
    assert main(["long", "save", *files]) == 0
    first = load_saved(saved)[1]
    assert first.step == 5
    assert main(["long", "save", *files]) == 2
    assert "not saved" in capsys.readouterr().err
    save_weights(saved, codec(), SavedFacts(1, 0.1, first.against_avif + 0.1 * (100 + first.against_avif)))
    assert main(["long", "save", *files]) == 0
    assert load_saved(saved)[1] == first
