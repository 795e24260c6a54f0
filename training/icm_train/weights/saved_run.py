"""A run's averaged weights as one small file, which survives the machine they were trained on."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from icm.atomic_file import write_atomically
from icm.errors import ConfigError
from icm_train.models.codec import TrainableCodec
from icm_train.models.networks import network_of

LARGEST = 16_000_000
"""Bytes that the file may take."""
GAIN_TO_SAVE = 5.0
"""By how many per cent of bits weights must be better than those saved last to be worth a commit."""


@dataclass(frozen=True)
class SavedFacts:
    """Where the run stood: step, hours on one core, and bits against AVIF at equal PSNR on the held-out photos, %."""

    step: int
    hours: float
    against_avif: float


def save_weights(path: Path, codec: TrainableCodec, facts: SavedFacts) -> int:
    """Writes a codec's weights in half precision; returns the file's bytes.

    Raises:
        ConfigError: the file would be larger than 16 MB, or a weight does not fit half precision.
    """
    # Parameters only: buffers are constants, and a least likelihood of 1e-9 would be 0 in half precision.
    state = {name: value.detach().cpu().half() for name, value in codec.named_parameters()}
    if spoilt := [name for name, value in state.items() if not bool(value.isfinite().all())]:
        raise ConfigError(f"{', '.join(spoilt)} cannot be kept in half precision")
    buffer = io.BytesIO()
    torch.save({"network": asdict(codec.config), "facts": asdict(facts), "weights": state}, buffer)
    if len(buffer.getvalue()) > LARGEST:
        raise ConfigError(f"{path} would take {len(buffer.getvalue())} bytes; at most {LARGEST} are allowed")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())
    return len(buffer.getvalue())


def load_saved(path: Path) -> tuple[TrainableCodec, SavedFacts]:
    """The codec that ``save_weights`` kept, and where the run stood.

    Raises:
        ConfigError: the file holds no such weights.
    """
    try:
        stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        codec = TrainableCodec(network_of(stored["network"]))
        state = {name: stored["weights"][name].float() for name, _ in codec.named_parameters()}
        codec.load_state_dict(codec.state_dict() | state)
        return codec, SavedFacts(**stored["facts"])
    except Exception as error:  # whatever a damaged file makes torch raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{path} holds no weights of a long run: {reason}") from None
