"""A bundle's networks as a trainable codec again: training goes on from what ships, without the checkpoints behind it.

Transforms and gains are in a bundle as they were trained, the integer network to within its own rounding. The static
density of the hyper-latents is fitted to the tables that replaced it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from icm.codec.bundle.manifest import MANIFEST
from icm.codec.entropy.integer_network import MEAN_STEPS
from icm.codec.latents.latents import HYPER_MAX
from icm.errors import ConfigError
from icm_train.integer.grid import ACTIVATION_STEPS
from icm_train.models.codec import TrainableCodec
from icm_train.models.entropy_model import HyperPrior
from icm_train.models.networks import NetworkConfig, network_of

_HYPER_LAYERS = ("first", "second", "third", "last")
_PARAMETERS = (".weight", ".bias", ".scale", ".log_scale", ".shift")
_NOT_STORED = ("hyper_prior.", "latent_bits.")
"""The density that is fitted, and a likelihood's learned shape, which begins anew."""
_FIT_STEPS, _FIT_RATE = 300, 3e-2
"""Within 0.16 bits a hyper-latent of each channel's entropy from any start; 100 steps at 6e-2 leave up to 0.4."""
_FIT_SEED = 0


def codec_of_bundle(folder: Path) -> tuple[TrainableCodec, dict[str, Any]]:
    """The codec of a bundle before its decoder was finetuned, and how the bundle came about.

    Raises:
        ConfigError: the folder holds no bundle, or one that does not say what its networks' widths are.
    """
    try:
        training: dict[str, Any] = json.loads((folder / MANIFEST).read_text())["training"]
        config = network_of(training["network"])
        state, shares = _stored(folder, config)
        # The same bundle is the same codec each time, whatever was drawn before, and what is drawn next is not moved.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_FIT_SEED)
            codec = TrainableCodec(config)
            _fit(codec.hyper_prior, shares)
        left = codec.load_state_dict(state, strict=False)
        if lacking := [name for name in left.missing_keys if not name.startswith(_NOT_STORED)]:
            raise ValueError(f"its networks lack {', '.join(lacking)}")
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{folder} is no bundle that training can go on from: {error!r}") from None
    made = training.get("config", {}) | {"bundle": folder.name}
    return codec.eval(), {"history": training.get("history", []), "config": made}


def _stored(folder: Path, config: NetworkConfig) -> tuple[dict[str, Tensor], Tensor]:
    """All of a codec's state but the density of its hyper-latents, and their shares as in ``_hyper_shares``."""
    plain = folder / "decoder_base.onnx"
    state = _weights(folder / "encoder.onnx") | _weights(plain if plain.exists() else folder / "decoder.onnx")
    state |= {f"hyper_analysis.{name}": value for name, value in _weights(folder / "hyper_encoder.onnx").items()}
    said = _hyper_synthesis(folder / "hyper_decoder.onnx")
    state |= {f"hyper_synthesis.{name}": value for name, value in said.items()}
    with np.load(folder / "entropy.npz") as tables:
        gains, inverse_gains = torch.from_numpy(tables["log_gains"])
        state |= {"gains.log_gain": gains, "gains.log_ungain": inverse_gains}
        return state, _hyper_shares(tables, config)


def _initialisers(path: Path) -> dict[str, NDArray[Any]]:
    return {part.name: numpy_helper.to_array(part) for part in onnx.load(path).graph.initializer}


def _weights(path: Path) -> dict[str, Tensor]:
    """The parameters in an exported graph; it also holds constants of its own, whose names end otherwise."""
    return {name: torch.tensor(value) for name, value in _initialisers(path).items() if name.endswith(_PARAMETERS)}


def _hyper_synthesis(path: Path) -> dict[str, Tensor]:
    """Undoes ``quantise.integer_layers``."""
    stored, units, state = _initialisers(path), 1.0, {}
    for number, layer in enumerate(_HYPER_LAYERS):
        # The last layer's scale indexes have as many units to 1.0 as its means.
        made = float(MEAN_STEPS if layer == "last" else ACTIVATION_STEPS)
        shifts = stored[f"shifts{number}"]
        weight = stored[f"weights{number}"] * shifts.reshape(-1, 1, 1, 1) * (units / made)
        bias = stored[f"biases{number}"] * shifts.reshape(1, -1) / made
        state[f"{layer}.weight"] = torch.tensor(weight, dtype=torch.float32)
        by_level = layer in ("first", "last")
        state[f"{layer}_bias" if by_level else f"{layer}.bias"] = torch.tensor(
            bias if by_level else bias[0], dtype=torch.float32
        )
        units = made
    return state


def _hyper_shares(tables: Any, config: NetworkConfig) -> Tensor:
    """How often each hyper-latent is met, over all levels: float32[N, 2 * HYPER_MAX + 1]."""
    size = 2 * HYPER_MAX + 1
    frequencies = tables["hyper_frequencies"].reshape(len(config.lambdas), config.hyper, -1)[:, :, :size]
    counts = torch.from_numpy(frequencies.astype(np.float64).mean(0))
    return (counts / counts.sum(1, keepdim=True)).float()


def _fit(prior: HyperPrior, shares: Tensor) -> None:
    """Maximum likelihood of the shares, float32[N, 2 * HYPER_MAX + 1]."""
    values = torch.arange(-HYPER_MAX, HYPER_MAX + 1).float().expand(1, len(shares), 1, -1)
    optimiser = torch.optim.Adam(prior.parameters(), _FIT_RATE)
    threads = torch.get_num_threads()
    # The tensors are so small that threads do nothing but wait for each other.
    torch.set_num_threads(1)
    try:
        for _ in range(_FIT_STEPS):
            bits = (prior(values)[0, :, 0] * shares).sum(1).mean()
            optimiser.zero_grad()
            bits.backward()
            optimiser.step()
    finally:
        torch.set_num_threads(threads)
