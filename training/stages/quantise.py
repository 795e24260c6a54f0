"""Stage 5: the float entropy model becomes the integer one that ships."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from shared.codec.bundle import CONTEXT
from shared.codec.context import ContextModel, Expected
from shared.codec.entropy import EntropyModel
from shared.codec.integer_network import ACTIVATION_MAX, MEAN_STEPS, SCALE_COUNT, IntegerNetwork
from shared.codec.latents import HYPER_MAX, QUALITY_STEPS, Latents
from shared.codec.movement import CONTEXTS
from shared.codec.rescale import OCTAVE_STEPS
from shared.codec.tables import TOTAL, Tables, normalised
from shared.errors import BundleError, ConfigError
from training.checkpoint import digest, load_codec
from training.context_model import ContextNetworks, rounded
from training.data import Crops
from training.entropy_model import ACTIVATION_STEPS, SCALE_LOG_STEP, SCALE_MIN, HyperSynthesis
from training.integer_context import context_model, graphs, walk
from training.integer_network import IntegerLayer, build_graph, integer_layer
from training.model import TrainableCodec
from training.stages import context

log = logging.getLogger(__name__)

FOLDER = "quantised"
"""Where in a run's folder the stage leaves its files."""
NETWORK = "hyper_decoder.onnx"
TABLES = "tables.npz"
_FACTS = "quantised.json"
_COMPARED = 16
"""Pictures that the rate loss is taken over."""

TABLE_REACH = 400
"""No table runs further than this from its mean; rarer values are escaped."""
CERTAIN = TOTAL - (1 << 13)
"""From this frequency on, a table's symbol is taken for granted: a surprise costs the encoder 11 bits or the change."""
PRIOR_WEIGHT = 200.0
"""How many observations the Gaussian shape of a table is worth beside the histogram."""


@dataclass(frozen=True)
class QuantiseConfig:
    """Settings of the stage.

    Attributes:
        crops, crop: how many pictures, and of which side in pixels, the tables are counted on, each at every level.
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
    still = movement_tables(np.zeros((CONTEXTS, 2), np.int64))  # photos do not move
    entropy = EntropyModel(network, corrections, *tables, still, len(codec.config.lambdas), codec.config.latents)
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
    (target / _FACTS).write_text(json.dumps({"start": digest(checkpoint), "rate_loss": round(loss, 5)}))
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


@dataclass
class Histograms:
    """Counts of what the integer network met.

    Attributes:
        latents: int64[SCALE_COUNT * MEAN_STEPS, 2 * TABLE_REACH + 1], symbols by table, clipped to the reach.
        hyper: int64[levels, N, 2 * HYPER_MAX + 1].
    """

    latents: NDArray[np.int64]
    hyper: NDArray[np.int64]


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


def latent_tables(histograms: Histograms) -> Tables:
    """One table per scale index and eighth: a Gaussian with a thin Laplacian skirt, corrected by the histogram."""
    frequencies, lengths, lowest = [], [], []
    for index in range(SCALE_COUNT):
        sigma = SCALE_MIN * math.exp(index * SCALE_LOG_STEP)
        reach = min(TABLE_REACH, math.ceil(4.5 * sigma) + 2)
        for eighth in range(MEAN_STEPS):
            edges = np.arange(-reach, reach + 3) - 0.5 - eighth / MEAN_STEPS
            shape = 0.995 * np.diff(_gaussian_cdf(edges / sigma)) + 0.005 * np.diff(_laplace_cdf(edges / (2 * sigma)))
            seen = histograms.latents[index * MEAN_STEPS + eighth]
            middle = seen[TABLE_REACH - reach : TABLE_REACH + reach + 2]
            middle = np.pad(middle, (0, 2 * reach + 2 - len(middle)))
            outside = seen.sum() - middle.sum()
            weights = np.append(PRIOR_WEIGHT * shape + middle, outside + PRIOR_WEIGHT * 1e-4)
            frequencies.append(normalised(weights))
            lengths.append(len(weights))
            lowest.append(-reach)
    certain = np.array([table[:-1].max() >= CERTAIN for table in frequencies])
    return _tables(frequencies, lengths, lowest, certain)


def hyper_tables(histograms: Histograms) -> Tables:
    """One table per level and channel, from the histogram, smoothed."""
    kernel = np.array([0.05, 0.9, 0.05])
    frequencies, lengths, lowest = [], [], []
    for by_channel in histograms.hyper:
        for counts in by_channel:
            weights = np.convolve(counts, kernel, mode="same") + counts.sum() * 1e-5 + 0.05
            frequencies.append(normalised(np.append(weights, 1e-3)))
            lengths.append(len(weights) + 1)
            lowest.append(-HYPER_MAX)
    return _tables(frequencies, lengths, lowest, np.zeros(len(lengths), bool))


def movement_tables(counts: NDArray[np.int64]) -> Tables:
    """One table per context of ``shared.codec.movement``: still, moved, and the escape that never comes.

    Args:
        counts: int64[CONTEXTS, 2], how often each was met.
    """
    share = (counts[:, 1].sum() + 1) / (counts.sum() + 2)
    weights = counts + 4 * np.array([1 - share, share])
    frequencies = [normalised(np.append(row, 1e-6)) for row in weights]
    size = len(counts)
    return _tables(frequencies, [3] * size, [0] * size, np.zeros(size, bool))


def gain_arrays(codec: TrainableCodec) -> dict[str, NDArray[Any]]:
    """What a bundle stores of the gains: as floats for the transforms, as integers for ``rescale``."""
    gains = torch.stack((codec.gains.log_gain, codec.gains.log_ungain)).detach().numpy()
    octaves = np.rint(gains[0].astype(np.float64) / math.log(2) * OCTAVE_STEPS).astype(np.int32)
    return {"log_gains": gains.astype(np.float32), "gain_octaves": octaves}


def _tables(
    frequencies: list[NDArray[np.uint32]], lengths: list[int], lowest: list[int], certain: NDArray[np.bool_]
) -> Tables:
    return Tables(np.concatenate(frequencies), np.array(lengths, np.uint16), np.array(lowest, np.int16), certain)


@torch.no_grad()
def rate_loss(
    codec: TrainableCodec, networks: ContextNetworks, entropy: EntropyModel, images: Iterable[Tensor]
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


def _gaussian_cdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])


def _laplace_cdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(x < 0, 0.5 * np.exp(np.minimum(x, 0)), 1 - 0.5 * np.exp(-np.maximum(x, 0)))
