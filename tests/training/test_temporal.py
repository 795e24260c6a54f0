"""The temporal model's training: what the networks learn, and that the integer ones that ship predict the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.codec.integer_network import MEAN_STEPS, IntegerNetwork
from training.checkpoint import load_codec
from training.stages.temporal import Sample, TemporalConfig, TemporalTrainer, made_clips, samples, train
from training.stages.temporal_quantise import graphs, integer_model

CONFIG = TemporalConfig(clips=4, size=128, frames=3, steps=6, levels_a_step=2, counted=2, save_every=3)


@pytest.fixture(scope="module")
def trainer(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> TemporalTrainer:
    """A trainer on clips of the made photos, before its first step."""
    codec, _ = load_codec(trained / "base.pt")
    folder = tmp_path_factory.mktemp("temporal")
    return TemporalTrainer(codec, CONFIG, made_clips(CONFIG, trained / "photos.u8", folder / "clips.npy"))


def all_samples(trainer: TemporalTrainer, level: int) -> list[Sample]:
    """Samples of every clip at a level at which something moved."""
    found = [
        sample
        for clip in trainer.clips
        for sample in samples(trainer.latents(clip, level), trainer.gains[level], trainer.channels, level)
    ]
    moved = [sample for sample in found if sample.moved.any()]
    assert moved
    return moved


def test_samples_hold_what_moved_and_what_was_around_it(trainer: TemporalTrainer) -> None:
    for sample in all_samples(trainer, 5):
        count = int(sample.moved.sum())
        channels = trainer.codec.config.latents
        assert sample.wanted.shape == (count, channels)
        assert [seen.shape for seen in sample.seen] == [
            (count, network.first.in_features) for network in trainer.network.networks
        ]
        assert (np.abs(sample.wanted).max(1) > 0).all()


def test_groups_hold_every_channel_once_the_most_energetic_first(trainer: TemporalTrainer) -> None:
    assert sorted(trainer.channels.order.tolist()) == list(range(trainer.codec.config.latents))
    energy = np.square(trainer.latents(trainer.clips[0], 3)).mean((0, 2, 3))
    assert energy[trainer.groups[0]].mean() > 10 * energy[trainer.groups[-1]].mean()


def test_training_makes_differences_cheaper(trained: Path, tmp_path: Path) -> None:
    trainer = train(replace(CONFIG, steps=60, rate=1e-3), trained / "base.pt", trained / "photos.u8", tmp_path)
    fresh = TemporalTrainer(trainer.codec, CONFIG, trainer.clips)
    batch = all_samples(trainer, 5)
    with torch.no_grad():
        before, after = (float(which.bits(batch)[0].sum()) for which in (fresh, trainer))
    assert after < 0.97 * before


def test_a_run_that_was_stopped_goes_on_where_it_was(trained: Path, tmp_path: Path) -> None:
    train(replace(CONFIG, steps=3), trained / "base.pt", trained / "photos.u8", tmp_path)
    trainer = train(CONFIG, trained / "base.pt", trained / "photos.u8", tmp_path)
    assert trainer.step == 6
    state = torch.load(tmp_path / "temporal.pt", weights_only=True)
    assert state["step"] == 6


def test_the_integer_networks_predict_what_the_float_ones_do(trainer: TemporalTrainer) -> None:
    batch = all_samples(trainer, 6)[0]
    networks = [IntegerNetwork(graph, 1) for graph in graphs(trainer.network)]
    levels = torch.full((len(batch.wanted),), batch.level)
    with torch.no_grad():
        means, indexes = trainer.network(list(map(torch.from_numpy, batch.seen)), levels)
    for network, group, seen in zip(networks, trainer.channels.slices, batch.seen, strict=True):
        whole_means, whole_indexes = (said[0, :, 0].T for said in network(seen.T[None, :, None], batch.level))
        assert np.abs(whole_means / MEAN_STEPS - means[:, group].numpy()).mean() < 0.1
        assert np.abs(whole_indexes - indexes[:, group].clamp(0, 63).numpy()).mean() < 1.0


def test_counted_tables_fit_what_was_counted(trainer: TemporalTrainer) -> None:
    _, model = integer_model(trainer.network, trainer.counted())
    still = model.movement_tables.frequencies[0::3]
    moved = model.movement_tables.frequencies[1::3]
    assert still.sum() > moved.sum()
    tables = model.differences.tables
    ends = np.cumsum(tables.lengths.astype(int))
    peaks = [int(part.max()) for part in np.split(tables.frequencies, ends[:-1])]
    assert peaks[0] > peaks[20 * MEAN_STEPS] > peaks[50 * MEAN_STEPS]
