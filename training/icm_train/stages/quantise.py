"""Stage 5: the float entropy model becomes the integer one that ships."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from icm.atomic_file import write_atomically
from icm.codec.bundle.manifest import CONTEXT
from icm.codec.entropy.context import ContextModel, Expected
from icm.codec.entropy.integer_network import ACTIVATION_MAX, MEAN_STEPS, SCALE_COUNT, IntegerNetwork
from icm.codec.entropy.skip_map import CONTEXTS
from icm.codec.latents.latents import HYPER_MAX, QUALITY_STEPS, Latents
from icm.codec.payload.intra import IntraEntropyModel
from icm.errors import BundleError, ConfigError
from icm_train.data.photo_shard import Crops
from icm_train.integer.grid import ACTIVATION_STEPS
from icm_train.integer.network import IntegerLayer, build_graph, integer_layer
from icm_train.integer.tables import TABLE_REACH, Histograms, hyper_tables, latent_tables, skip_map_tables
from icm_train.models.codec import TrainableCodec, gain_arrays
from icm_train.models.context_model import ContextNetworks, rounded
from icm_train.models.entropy_model import HyperSynthesis
from icm_train.stages import context
from icm_train.stages.integer_context import context_model, graphs, walk
from icm_train.weights.checkpoint import digest, load_codec

log = logging.getLogger(__name__)

FOLDER = "quantised"
"""Where in a run's folder the stage leaves its files."""
NETWORK = "hyper_decoder.onnx"
TABLES = "tables.npz"
_FACTS = "quantised.json"
_COMPARED = 16
"""Pictures that the rate loss is taken over."""


@dataclass(frozen=True)
class QuantiseConfig:
    """Settings of the stage.

    Attributes:
        crops: how many pictures the tables are counted on, each at every level.
        crop: side of those pictures in pixels.
        largest_rate_loss: how many more bytes than the float model the integer one may take, as a share.
    """

    crops: int = 160
    crop: int = 256
    largest_rate_loss: float = 0.02


def quantise(checkpoint: Path, config: QuantiseConfig, shard: Path, folder: Path) -> float:
    """Makes the integer networks and their tables from a checkpoint of the base or the object stage.

    Args:
        shard: the training photos, to count symbols on.
        folder: the run's, with the context stage's checkpoint; the results lie in ``quantised`` there.

    Returns:
        the rate loss, as a share.

    Raises:
        ConfigError: there is no context model of that checkpoint.
        BundleError: the rate loss is too large, or a partial sum of a network could be inexact.
    """
    codec, _ = load_codec(checkpoint)
    networks = context.trained(checkpoint, folder)
    target = folder / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    (target / _FACTS).unlink(missing_ok=True)  # whatever is here until the end belongs together no more
    crops = Crops(shard, config.crop, 1, seed=77)
    graph = build_graph(integer_layers(codec.hyper_synthesis)).SerializeToString()
    network = IntegerNetwork(graph, 0)
    steps = graphs(networks)
    corrections = context_model(steps, networks.groups)
    histograms = count(codec, network, corrections, [crops.crop().image for _ in range(config.crops)])
    tables = latent_tables(histograms), hyper_tables(histograms)
    still = skip_map_tables(np.zeros((CONTEXTS, 2), np.int64))  # photos do not move
    entropy = IntraEntropyModel(network, corrections, *tables, still, len(codec.config.lambdas), codec.config.latents)
    loss = rate_loss(codec, networks, entropy, [crops.crop().image for _ in range(min(_COMPARED, config.crops))])
    log.info("the integer entropy model takes %+.2f %% bytes against the float one", 100 * loss)
    if loss > config.largest_rate_loss:
        raise BundleError(
            f"the integer entropy model of {checkpoint} takes {100 * loss:.2f} % more bytes than the float one, and"
            f" {100 * config.largest_rate_loss:g} % are allowed: train longer, or count on more pictures"
            " (quantise.crops)"
        )
    for name, made in zip((NETWORK, *CONTEXT), (graph, *steps), strict=True):
        (target / name).write_bytes(made)
    np.savez_compressed(
        target / TABLES,
        context_order=np.concatenate(networks.groups).astype(np.int16),
        context_ends=np.cumsum([len(group) for group in networks.groups]).astype(np.int16),
        **gain_arrays(codec),
        **tables[0].arrays("latent"),
        **tables[1].arrays("hyper"),
    )
    write_atomically(target / _FACTS, json.dumps({"start": digest(checkpoint), "rate_loss": round(loss, 5)}))
    return loss


def is_quantised(folder: Path, checkpoint: Path) -> bool:
    """Whether the stage ran, in this run's folder, on this very checkpoint."""
    facts = folder / FOLDER / _FACTS
    return facts.exists() and json.loads(facts.read_text())["start"] == digest(checkpoint)


def quantised(folder: Path, checkpoint: Path) -> tuple[Path, float]:
    """Where the results of the stage lie, and their rate loss.

    Raises:
        ConfigError: the stage did not run on this checkpoint.
    """
    target = folder / FOLDER
    if not is_quantised(folder, checkpoint):
        raise ConfigError(f"{target} holds nothing made from {checkpoint}: run icm-train quantise first")
    return target, float(json.loads((target / _FACTS).read_text())["rate_loss"])


def integer_layers(float_network: HyperSynthesis) -> list[IntegerLayer]:
    """Scales each output channel's weights by the largest power of two that keeps all partial sums exact."""
    levels = float_network.first_bias.shape[0]
    latents = float_network.latents
    # The last layer's means come out in 1/8, its scale indexes in 1.
    last_scale = torch.cat((torch.full((latents,), float(MEAN_STEPS)), torch.full((latents,), 8.0)))
    hidden_scale = float(ACTIVATION_STEPS)
    second, third = float_network.second, float_network.third
    assert second.bias is not None
    assert third.bias is not None
    plain: list[tuple[Tensor, Tensor, float, float | Tensor, bool, bool]] = [
        (float_network.first.weight, float_network.first_bias, 1.0, hidden_scale, True, True),
        (second.weight, second.bias.expand(levels, -1), hidden_scale, hidden_scale, True, True),
        (third.weight, third.bias.expand(levels, -1), hidden_scale, hidden_scale, False, True),
        (float_network.last.weight, float_network.last_bias, hidden_scale, last_scale, False, False),
    ]
    layers = []
    largest_input = HYPER_MAX
    for weight, bias, scale_in, scale_out, upsample, clip in plain:
        layers.append(integer_layer(weight, bias, scale_in, scale_out, largest_input, upsample=upsample, clip=clip))
        largest_input = ACTIVATION_MAX
    return layers


@torch.no_grad()
def count(
    codec: TrainableCodec, network: IntegerNetwork, corrections: ContextModel, images: Iterable[Tensor]
) -> Histograms:
    """Codes uint8[3, H, W] pictures (sides multiples of 64) at every level and counts the symbols."""
    latents = np.zeros((SCALE_COUNT * MEAN_STEPS, 2 * TABLE_REACH + 1), np.int64)
    levels = len(codec.config.lambdas)
    hyper = np.zeros((levels, codec.config.hyper, 2 * HYPER_MAX + 1), np.int64)
    channels = np.arange(codec.config.hyper)[:, None, None]
    for image in tqdm(list(images), desc="counting", unit="photo"):
        for level in range(levels):
            y, z = codec.integers(image[None].float() / 255, level)
            hyper_values = z[0].numpy().astype(np.int8)
            np.add.at(hyper[level], (np.broadcast_to(channels, hyper_values.shape), hyper_values + HYPER_MAX), 1)
            (means,), (indexes,) = network(hyper_values[None], level)
            expected = Expected(means, indexes.astype(np.int32))
            for known, values in walk(corrections, y[0].numpy().astype(np.int32), expected, level):
                tables = known.indexes * MEAN_STEPS + known.means % MEAN_STEPS
                symbols = np.clip(values - known.means // MEAN_STEPS, -TABLE_REACH, TABLE_REACH)
                np.add.at(latents, (tables.ravel(), symbols.ravel() + TABLE_REACH), 1)
    return Histograms(latents, hyper)


@torch.no_grad()
def rate_loss(
    codec: TrainableCodec, networks: ContextNetworks, entropy: IntraEntropyModel, images: Iterable[Tensor]
) -> float:
    """Payload bytes of the integer model over those of the float one, less 1; over uint8[3, H, W] pictures."""
    integer = floating = 0.0
    for image in images:
        height, width = image.shape[1:]
        for level in range(entropy.levels):
            y, z = codec.integers(image[None].float() / 255, level)
            levels = torch.tensor([level])
            means, indexes = rounded(*networks(*context.predicted_from(codec, y, z, levels), levels))
            bits = codec.latent_bits(y, means / MEAN_STEPS, indexes).sum() + codec.hyper_prior(z).sum()
            floating += float(bits) / 8
            quality, still = level * QUALITY_STEPS, np.zeros(y.shape[2:], bool)
            values = Latents(y[0].numpy().astype(np.int16), z[0].numpy().astype(np.int8), still, quality, width, height)
            integer += len(entropy.encode(values))
    return integer / floating - 1
