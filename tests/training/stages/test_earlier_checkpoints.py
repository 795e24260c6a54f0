"""Checkpoints in the layout that stages wrote before they shared a loop are read, and gone on from."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from icm_train.data.masks import mask_file
from icm_train.models.networks import network_of
from icm_train.stages import base, context, finetune, temporal
from icm_train.stages.trainer import TrainerConfig
from icm_train.weights.checkpoint import digest, finished, load_codec

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

BASE = TrainerConfig(steps=3, crop=128, save_every=3)
FINETUNE = finetune.FinetuneConfig(steps=3, warmup=1, crop=64, patches=1, save_every=3)
CONTEXT = context.ContextConfig(steps=3, crop=128, warmup=1, save_every=3)
TEMPORAL = temporal.TemporalConfig(clips=4, size=128, frames=3, steps=3, batch=2, fresh=2, counted=2, save_every=3)


def without_peaks(optimiser: dict[str, Any]) -> dict[str, Any]:
    """A state as it was when the rate of a group was computed beside it."""
    groups = [{name: value for name, value in group.items() if name != "peak"} for group in optimiser["param_groups"]]
    return optimiser | {"param_groups": groups}


def earlier(file: Path, *kept: str, **added: Any) -> dict[str, Any]:
    """Puts an earlier layout in a checkpoint's place: these entries of it, and others; by name, as it was then."""
    state = torch.load(file, weights_only=True)
    layout = {name: state[name] for name in kept} | added
    torch.save(layout, str(file))
    return layout


def same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_codecs(trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    shard, file = trained / "photos.u8", tmp_path / "base.pt"
    network = network_of(torch.load(trained / "base.pt", weights_only=True)["network"])
    base.train(network, BASE, shard, tmp_path, None)
    layout = earlier(file, "codec", "average", "optimiser", "step", "network", "config")  # before there was a history
    codec, provenance = load_codec(file)
    assert same(codec.state_dict(), {n.removeprefix("module."): v for n, v in layout["average"].items() if "." in n})
    assert provenance["history"] == []
    assert finished(file, 3)
    base.train(network, replace(BASE, steps=4), shard, tmp_path, None)
    assert "base: resuming at step 3" in caplog.text
    assert finished(file, 4)


def test_a_finetuned_synthesis(trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    start, shard, file = trained / "base.pt", trained / "photos.u8", tmp_path / "finetune.pt"
    finetune.train(FINETUNE, shard, tmp_path, start)
    state = torch.load(file, weights_only=True)
    layout = earlier(
        file, "synthesis", "average", "discriminator", "step", start=digest(start),
        optimiser=without_peaks(state["optimiser"]), opponent=without_peaks(state["opponent"]),
        config=asdict(FINETUNE) | {"stage": "finetune"},
    )  # fmt: skip
    assert same(finetune.finetuned_synthesis(file, start), layout["average"])
    assert finetune.provenance(file)["step"] == 3
    again = finetune.train(FINETUNE, shard, tmp_path, start)
    assert same(again.codec.synthesis.state_dict(), layout["synthesis"])
    assert same(again.discriminator.state_dict(), layout["discriminator"])
    finetune.train(replace(FINETUNE, steps=4), shard, tmp_path, start)
    assert caplog.text.count("finetune: resuming at step 3") == 2
    assert finished(file, 4)


def test_a_context_model(trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    codec, shard, file = trained / "base.pt", trained / "photos.u8", tmp_path / "context.pt"
    context.train(CONTEXT, codec, shard, tmp_path)
    state = torch.load(file, weights_only=True)
    optimiser = without_peaks(state["optimiser"])
    layout = earlier(file, "networks", "groups", "levels", "step", source=digest(codec), optimiser=optimiser)
    assert context.is_trained(CONTEXT, codec, tmp_path)
    assert same(context.trained(codec, tmp_path).state_dict(), layout["networks"])
    context.train(replace(CONTEXT, steps=4), codec, shard, tmp_path)
    assert "context: resuming at step 3" in caplog.text
    assert finished(file, 4)


def test_a_temporal_model(trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    codec, shard, file = trained / "base.pt", trained / "photos.u8", tmp_path / "temporal.pt"
    assert mask_file(shard).exists()
    temporal.train(TEMPORAL, codec, shard, tmp_path)
    optimiser = without_peaks(torch.load(file, weights_only=True)["optimiser"])
    layout = earlier(file, "network", "groups", "step", source=digest(codec), optimiser=optimiser)
    assert same(temporal.train(TEMPORAL, codec, shard, tmp_path).network.state_dict(), layout["network"])
    temporal.train(replace(TEMPORAL, steps=4), codec, shard, tmp_path)
    assert caplog.text.count("temporal: resuming at step 3") == 2
    assert finished(file, 4)
