"""Checkpoints written, and read back: the weights that count, and how they came about."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from icm.atomic_file import atomic_writer
from icm.codec.bundle.manifest import MANIFEST
from icm_train.models.codec import TrainableCodec
from icm_train.models.networks import network_of
from icm_train.weights.import_bundle import codec_of_bundle
from icm_train.weights.saved_run import load_saved


def save_checkpoint(checkpoint: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint in the place of the one before; a kill at any moment leaves one of the two.

    Args:
        checkpoint: the file.
        state: what ``torch.load`` with ``weights_only`` can read.
    """
    with atomic_writer(checkpoint) as file:
        torch.save(state, file)


def load_codec(checkpoint: Path) -> tuple[TrainableCodec, dict[str, Any]]:
    """The averaged weights of a checkpoint as a codec on the CPU, and what else the checkpoint says.

    Args:
        checkpoint: of a run; the saved weights of a long run; or a bundle's folder, whose codec is taken back as it
            shipped.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ConfigError: the bundle does not say how it was made.
    """
    if checkpoint.is_dir():
        return codec_of_bundle(checkpoint)
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if "weights" in state:
        codec, facts = load_saved(checkpoint)
        return codec.eval(), {"history": [], "config": {"long_run": asdict(facts)}, "network": state["network"]}
    codec = TrainableCodec(network_of(state["network"]))
    average = {k.removeprefix("module."): v for k, v in state["average"].items() if k.startswith("module.")}
    codec.load_state_dict(average)
    kept = ("step", "config", "network", "history")
    return codec.eval(), {"history": []} | {name: state[name] for name in kept if name in state}


def source_of(state: dict[str, Any]) -> str | None:
    """Digest of what a stage's checkpoint was made from; None if it does not say.

    Args:
        state: the checkpoint's; earlier versions of the finetune stage called it ``start``.
    """
    source: str | None = state.get("source", state.get("start"))
    return source


def finished(checkpoint: Path, steps: int) -> bool:
    """Whether a stage's checkpoint is there and has taken all its steps."""
    if not checkpoint.exists():
        return False
    taken: int = torch.load(checkpoint, map_location="cpu", weights_only=True)["step"]
    return taken >= steps


def digest(checkpoint: Path) -> str:
    """Hex SHA-256 by which later stages know what they were made from: of the file, or of a bundle's manifest."""
    with (checkpoint / MANIFEST if checkpoint.is_dir() else checkpoint).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
