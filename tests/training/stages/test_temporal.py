"""The temporal model's training: what the networks learn, and that the integer ones that ship predict the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from icm.codec.entropy.integer_network import MEAN_STEPS, IntegerNetwork
from icm.codec.latents.field import Mode, is_split
from icm.errors import ConfigError
from icm_train.data.clips import cut_out
from icm_train.data.motion_samples import FieldCounts, Sample
from icm_train.stages.temporal import CodedClip, TemporalConfig, TemporalTrainer, made_clips, train
from icm_train.stages.temporal_quantise import graphs, integer_model
from icm_train.weights.checkpoint import load_codec

CONFIG = TemporalConfig(
    clips=4, size=128, frames=3, steps=6, batch=2, fresh=2, counted=2, map_crops=8, map_steps=4, save_every=3
)


@pytest.fixture(scope="module")
def trainer(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> TemporalTrainer:
    """A trainer on clips of the made photos, before its first step."""
    codec, _ = load_codec(trained / "base.pt")
    folder = tmp_path_factory.mktemp("temporal")
    return TemporalTrainer(codec, CONFIG, made_clips(CONFIG, trained / "photos.u8", folder / "clips.npy"))


def all_samples(trainer: TemporalTrainer, level: int) -> list[Sample]:
    """Samples of every clip at a level that have differences."""
    found = [sample for clip in trainer.clips for sample in trainer.samples(clip, level)]
    coded = [sample for sample in found if sample.field.coded.any()]
    assert coded
    return coded


def test_samples_hold_what_moved_and_what_was_around_it(trainer: TemporalTrainer) -> None:
    for sample in all_samples(trainer, 5):
        count = int(sample.field.coded.sum())
        channels = trainer.codec.config.latents
        assert sample.wanted.shape == (count, channels)
        assert [seen.shape for seen in sample.seen] == [
            (count, network.first.in_features) for network in trainer.network.networks
        ]
        assert np.abs(sample.wanted).max() > 0


def test_a_coded_clip_holds_some_positions_of_all_its_frames(trainer: TemporalTrainer) -> None:
    found = all_samples(trainer, 5)
    whole = CodedClip.of(found, 10**6, np.random.default_rng(1))
    assert len(whole.wanted) == sum(len(sample.wanted) for sample in found)
    some = CodedClip.of(found, 3, np.random.default_rng(1))
    assert [len(part) for part in (*some.seen, some.wanted, some.rounded_off)] == [3] * 4
    assert (whole.wanted[:3] == some.wanted).all()


def test_clips_are_cut_out_of_videos_too(trained: Path, clip: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, real=3)
    clips = made_clips(config, trained / "photos.u8", tmp_path / "clips.npy", [clip])
    assert clips.shape == (4 + 3, 3, 128, 128, 3)
    assert all(np.abs(real[0].astype(int) - real[-1]).max() > 0 for real in clips[4:])


def test_a_video_that_is_too_short_is_refused(trained: Path, clip: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, real=1, frames=500)
    with pytest.raises(ConfigError, match="has not 500 frames of 128 pixels"):
        next(cut_out([clip], config.real, config.size, config.frames, config.seed))


def test_what_is_counted_is_how_often_it_came(trainer: TemporalTrainer) -> None:
    counts = FieldCounts()
    found = [sample for clip in trainer.clips for sample in trainer.samples(clip, 4)]
    for sample in found:
        counts.add(sample)
    assert counts.modes.sum() == sum(int(sample.field.updated.sum()) for sample in found)
    assert counts.modes[:, Mode.SKIP].sum() == 0
    has_motion = sum(int(sample.field.has_motion.sum()) for sample in found)
    split = sum(int(is_split(sample.field.modes).sum()) for sample in found)
    assert counts.choices.sum() == has_motion + 3 * split


def test_groups_hold_every_channel_once_the_most_energetic_first(trainer: TemporalTrainer) -> None:
    assert sorted(trainer.channels.order.tolist()) == list(range(trainer.codec.config.latents))
    energy = np.square(trainer.latents(trainer.clips[0], 3)).mean((0, 2, 3))
    assert energy[trainer.groups[0]].mean() > 10 * energy[trainer.groups[-1]].mean()


def test_training_makes_differences_cheaper(trained: Path, tmp_path: Path) -> None:
    trainer = train(replace(CONFIG, steps=300, rate=1e-3), trained / "base.pt", trained / "photos.u8", tmp_path)
    fresh = TemporalTrainer(trainer.codec, CONFIG, trainer.clips)
    batch = all_samples(trainer, 5)
    with torch.no_grad():
        before, after = (float(which.bits(batch)[0].sum()) for which in (fresh, trainer))
    assert after < 0.97 * before


def test_a_run_that_was_stopped_goes_on_where_it_was(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    train(replace(CONFIG, steps=3), trained / "base.pt", trained / "photos.u8", tmp_path)
    train(CONFIG, trained / "base.pt", trained / "photos.u8", tmp_path)
    assert "temporal: resuming at step 3" in caplog.text
    state = torch.load(tmp_path / "temporal.pt", weights_only=True)
    assert state["step"] == 6


def test_the_integer_networks_predict_what_the_float_ones_do(trainer: TemporalTrainer) -> None:
    batch = all_samples(trainer, 6)[0]
    networks = [IntegerNetwork(graph, 1) for graph in graphs(trainer.network)]
    levels = torch.full((len(batch.wanted),), batch.level)
    with torch.no_grad():
        means, indexes = trainer.network([torch.from_numpy(seen).float() for seen in batch.seen], levels)
    for network, group, seen in zip(networks, trainer.channels.slices, batch.seen, strict=True):
        whole_means, whole_indexes = (said[0, :, 0].T for said in network(seen.T[None, :, None], batch.level))
        assert np.abs(whole_means / MEAN_STEPS - means[:, group].numpy()).mean() < 0.1
        assert np.abs(whole_indexes - indexes[:, group].clamp(0, 63).numpy()).mean() < 1.0


def test_counted_tables_fit_what_was_counted(trainer: TemporalTrainer) -> None:
    _, model = integer_model(trainer.network, trainer.path, trainer.counted())
    updated = model.tables.skip_map_tables.frequencies[1::3].reshape(-1, 5)
    assert updated[:, 4].mean() > updated[:, 0].mean()  # more where more neighbours moved
    tables = model.differences.tables
    ends = np.cumsum(tables.lengths.astype(int))
    peaks = [int(part.max()) for part in np.split(tables.frequencies, ends[:-1])]
    assert peaks[0] > peaks[20 * MEAN_STEPS] > peaks[50 * MEAN_STEPS]
