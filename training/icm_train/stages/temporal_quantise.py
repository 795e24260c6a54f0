"""Stage 6b: the float temporal model becomes the integer one that ships, with tables counted on clips."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icm.atomic_file import write_atomically
from icm.codec.bundle.manifest import FIELD_TABLES, MOTION, MOTION_TABLES, SEARCH
from icm.codec.entropy.integer_network import MEAN_STEPS, SCALE_COUNT, IntegerNetwork
from icm.codec.entropy.residuals import DifferenceModel
from icm.codec.entropy.tables import Tables, normalised
from icm.codec.motion.linear_path import LinearPath
from icm.codec.motion.model import MotionModel
from icm.errors import ConfigError
from icm_train.data.motion_samples import FieldCounts, Sample
from icm_train.integer.grid import SCALE_LOG_STEP, SCALE_MIN
from icm_train.integer.pointwise_network import graph
from icm_train.integer.tables import DETERMINISTIC, PRIOR_WEIGHT, TABLE_REACH
from icm_train.models.temporal_model import TemporalNetwork
from icm_train.stages import temporal
from icm_train.stages.temporal import TemporalConfig, TemporalTrainer
from icm_train.weights.checkpoint import digest

FOLDER = "temporal"
"""Where in a run's folder the stage leaves its files."""
_FACTS = "temporal.json"
_REACHES = (3, 6, 11, 19, 30)
"""Of tables with narrow shapes: few lengths let the coder take symbols under many tables in one call."""


def graphs(network: TemporalNetwork) -> list[bytes]:
    """The ONNX graph of each group's network.

    Raises:
        BundleError: a partial sum could leave the range in which float32 is exact.
    """
    return [graph(group) for group in network.networks]  # type: ignore[arg-type]


@dataclass
class Counts:
    """What the integer networks met.

    Attributes:
        differences: int64[SCALE_COUNT * MEAN_STEPS, 2 * TABLE_REACH + 1], symbols by table, clipped to the reach.
        fields: of maps, modes and vectors.
    """

    differences: NDArray[np.int64]
    fields: FieldCounts


def count(networks: list[IntegerNetwork], groups: list[list[int]], samples: Iterable[Sample]) -> Counts:
    """Runs the networks over samples and counts symbols and flags."""
    differences = np.zeros((SCALE_COUNT * MEAN_STEPS, 2 * TABLE_REACH + 1), np.int64)
    fields = FieldCounts()
    for sample in samples:
        fields.add(sample)
        known = 0
        for network, group, seen in zip(networks, groups, sample.seen, strict=True):
            if len(sample.wanted):
                means, indexes = (said[0, :, 0].T for said in network(seen.T[None, :, None], sample.level))
                means = means + (MEAN_STEPS * sample.rounded_off[:, known : known + len(group)]).astype(np.int32)
                tables = indexes.astype(np.int32) * MEAN_STEPS + means % MEAN_STEPS
                wanted = sample.wanted[:, known : known + len(group)].astype(np.int32)
                symbols = np.clip(wanted - means // MEAN_STEPS, -TABLE_REACH, TABLE_REACH)
                np.add.at(differences, (tables.ravel(), symbols.ravel() + TABLE_REACH), 1)
            known += len(group)
    return Counts(differences, fields)


def difference_tables(counts: NDArray[np.int64]) -> Tables:
    """One table per scale index and eighth: a Laplacian corrected by what was counted."""
    frequencies, lengths, lowest = [], [], []
    for index in range(SCALE_COUNT):
        spread = SCALE_MIN * math.exp(index * SCALE_LOG_STEP) / math.sqrt(2)
        needed = min(TABLE_REACH, math.ceil(9 * spread) + 2)
        reach = next((reach for reach in _REACHES if reach >= needed), needed)
        for eighth in range(MEAN_STEPS):
            edges = np.arange(-reach, reach + 3) - 0.5 - eighth / MEAN_STEPS
            shape = np.diff(
                np.where(
                    edges < 0,
                    0.5 * np.exp(np.minimum(edges, 0) / spread),
                    1 - 0.5 * np.exp(-np.maximum(edges, 0) / spread),
                )
            )
            seen = counts[index * MEAN_STEPS + eighth]
            middle = seen[TABLE_REACH - reach : TABLE_REACH + reach + 2]
            middle = np.pad(middle, (0, 2 * reach + 2 - len(middle)))
            outside = seen.sum() - middle.sum()
            frequencies.append(normalised(np.append(PRIOR_WEIGHT * shape + middle, outside + PRIOR_WEIGHT * 1e-4)))
            lengths.append(2 * reach + 3)
            lowest.append(-reach)
    deterministic = np.array([table[:-1].max() >= DETERMINISTIC for table in frequencies])
    return Tables(np.concatenate(frequencies), np.array(lengths, np.uint16), np.array(lowest, np.int16), deterministic)


def integer_model(
    network: TemporalNetwork, path: LinearPath, samples: Iterable[Sample]
) -> tuple[list[bytes], MotionModel]:
    """The networks' graphs and the whole integer model, its tables counted on the samples."""
    made = graphs(network)
    networks = [IntegerNetwork(graph, 0) for graph in made]
    counts = count(networks, network.groups, samples)
    groups = [np.array(group) for group in network.groups]
    differences = DifferenceModel(networks, groups, difference_tables(counts.differences))
    return made, MotionModel(path, differences, counts.fields.tables())


def train(config: TemporalConfig, checkpoint: Path, shard: Path, folder: Path, videos: Sequence[Path] = ()) -> None:
    """Trains the temporal model of a finished codec, or goes on, and makes the integer one.

    Args:
        checkpoint: of the base or the object stage, or a bundle.
        shard: photos with masks, to make clips of.
        folder: the run's.
        videos: to cut clips out of as well.

    Raises:
        ConfigError: the shard has no masks, or a video cannot be read.
        BundleError: a partial sum of a network could be inexact.
    """
    trainer = temporal.train(config, checkpoint, shard, folder, videos)
    write(folder, checkpoint, trainer)


def write(folder: Path, checkpoint: Path, trainer: TemporalTrainer) -> None:
    """Leaves the integer model of a codec's checkpoint in the run's folder, for export."""
    target = folder / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    (target / _FACTS).unlink(missing_ok=True)  # whatever is here until the end belongs together no more
    made, model = integer_model(trainer.network, trainer.path, trainer.counted())
    for name, stored in zip(MOTION, made, strict=True):
        (target / name).write_bytes(stored)
    channels = model.differences.channels
    tables = (model.tables.skip_map_tables, model.tables.modes, model.tables.choices, model.tables.offsets)
    fields = [table.arrays(name) for name, table in zip(FIELD_TABLES, tables, strict=True)]
    np.savez_compressed(
        target / MOTION_TABLES,
        linear_analysis=trainer.path.analysis,
        linear_synthesis=trainer.path.synthesis,
        **({} if trainer.search is trainer.path else {SEARCH: trainer.search.synthesis}),
        channel_order=channels.order.astype(np.int16),
        group_ends=np.array([group.stop for group in channels.slices], np.int16),
        **model.differences.tables.arrays("difference"),
        **{name: array for arrays in fields for name, array in arrays.items()},
    )
    write_atomically(target / _FACTS, json.dumps({"start": digest(checkpoint)}))


def is_quantised(folder: Path, checkpoint: Path) -> bool:
    """Whether the run's folder holds the integer model of this very checkpoint."""
    facts = folder / FOLDER / _FACTS
    return facts.exists() and json.loads(facts.read_text())["start"] == digest(checkpoint)


def quantised(folder: Path, checkpoint: Path) -> Path:
    """Where the integer model lies.

    Raises:
        ConfigError: there is none for this checkpoint.
    """
    if not is_quantised(folder, checkpoint):
        raise ConfigError(f"{folder / FOLDER} holds nothing made from {checkpoint}: run icm-train temporal first")
    return folder / FOLDER
