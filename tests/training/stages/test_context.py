"""The context model's training: what the networks learn, and that the integer ones that ship say the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from icm.codec.entropy.context import Expected
from icm.codec.entropy.integer_network import MEAN_STEPS
from icm.errors import ConfigError
from icm_train.data.photo_shard import Crops
from icm_train.models.context_model import rounded
from icm_train.stages.context import ContextConfig, is_trained, predicted, train
from icm_train.stages.context import trained as trained_networks
from icm_train.stages.integer_context import context_model, graphs, walk
from icm_train.weights.checkpoint import load_codec

CONFIG = ContextConfig(steps=4, crop=128, warmup=1, save_every=2)


@pytest.fixture(scope="module")
def folder(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a context model that took some steps at a high rate."""
    folder = tmp_path_factory.mktemp("context")
    train(replace(CONFIG, steps=30, rate=3e-3), trained / "base.pt", trained / "photos.u8", folder)
    return folder


@pytest.fixture(scope="module")
def coded(trained: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Latents of a picture at level 4, and what the hyper-latents say about them."""
    codec, _ = load_codec(trained / "base.pt")
    image = Crops(trained / "photos.u8", 128, 1, seed=3).crop().image
    return predicted(codec, image[None].float() / 255, torch.tensor([4]))


def test_training_makes_latents_cheaper(trained: Path, folder: Path, coded: tuple[Tensor, Tensor, Tensor]) -> None:
    codec, _ = load_codec(trained / "base.pt")
    latents, means, indexes = coded
    with torch.no_grad():
        better = rounded(*trained_networks(trained / "base.pt", folder)(*coded, torch.tensor([4])))
        before = codec.latent_bits(latents, means / MEAN_STEPS, indexes).sum()
        after = codec.latent_bits(latents, better[0] / MEAN_STEPS, better[1]).sum()
    assert after < 0.97 * before


def test_the_integer_networks_say_what_the_float_ones_do(
    trained: Path, folder: Path, coded: tuple[Tensor, Tensor, Tensor]
) -> None:
    networks = trained_networks(trained / "base.pt", folder)
    latents, means, indexes = (part[0].numpy().astype(np.int32) for part in coded)
    with torch.no_grad():
        float_means, float_indexes = (said[0].numpy() for said in networks(*coded, torch.tensor([4])))
    model = context_model(graphs(networks), networks.groups)
    rows, columns = np.indices(latents.shape[1:])
    for step, (known, values) in enumerate(walk(model, latents, Expected(means, indexes), 4)):
        channels = model.order[model.group(step)]
        half = (rows + columns) % 2 == step % 2
        assert (values == latents[channels][:, half]).all()
        assert np.abs(known.means - float_means[channels][:, half]).mean() < 0.5
        assert np.abs(known.indexes - float_indexes[channels][:, half].clip(0, 63)).mean() < 0.5


def test_a_run_that_was_stopped_goes_on_where_it_was(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    checkpoint, shard = trained / "base.pt", trained / "photos.u8"
    train(replace(CONFIG, steps=2), checkpoint, shard, tmp_path)
    assert not is_trained(CONFIG, checkpoint, tmp_path)
    train(CONFIG, checkpoint, shard, tmp_path)
    assert "context: resuming at step 2" in caplog.text
    assert is_trained(CONFIG, checkpoint, tmp_path)
    assert torch.load(tmp_path / "context.pt", weights_only=True)["step"] == 4


def test_a_context_model_of_another_codec_is_refused(trained: Path, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    other.write_bytes((trained / "base.pt").read_bytes() + b" ")
    with pytest.raises(ConfigError, match="icm-train context"):
        trained_networks(other, folder)
