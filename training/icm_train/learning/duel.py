"""Duels: short runs that differ in one choice, for the same time on one core, measured on held-out photos."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from icm.atomic_file import write_atomically
from icm.errors import ConfigError
from icm_train.config import read_yaml, section
from icm_train.learning.learner import Learner
from icm_train.learning.measurement import MEASURE, Curve, HeldOut, bits_against
from icm_train.learning.photos import TrainingCrops
from icm_train.learning.recipe import Recipe, check_recipe
from icm_train.learning.start import fresh_codec, with_what_fits
from icm_train.models.networks import NetworkConfig
from icm_train.schedule import linear
from icm_train.weights.checkpoint import digest, load_codec

log = logging.getLogger(__name__)

_CONSTANT = 0.7
"""Share of the time with a constant learning rate; over the rest it falls, as a run's does that is ended."""
_LEAST = 0.02


@dataclass(frozen=True)
class Variant:
    """One side of a duel.

    Attributes:
        says: what it tries, a line for the table.
        against: the variant it is compared with; none for one that others are compared with.
        start: a bundle or a long run's saved weights to begin with; none for a plain DCT.
        branches: whether the start's branches are taken over where they fit.
    """

    name: str
    says: str
    against: str | None
    start: Path | None
    branches: bool
    network: NetworkConfig
    recipe: Recipe


@dataclass(frozen=True)
class Duels:
    """All variants of a file of duels, and the minutes on one core that each has."""

    minutes: float
    variants: list[Variant]


@dataclass(frozen=True)
class Outcome:
    """What became of a variant: steps it took in its minutes, its curve, and bits against AVIF at equal PSNR, %.

    ``settings`` are all it was run with, so that a changed variant is run anew.
    """

    name: str
    says: str
    against: str | None
    minutes: float
    steps: int
    skipped: int
    bpp: list[float]
    psnr: list[float]
    against_avif: float
    settings: dict[str, Any]

    @property
    def curve(self) -> Curve:
        """Bits and PSNR by level."""
        return Curve(self.bpp, self.psnr)


@dataclass(frozen=True)
class _DuelFile:
    """A file of duels: minutes for each variant, and what all variants share."""

    variants: dict[str, Any]
    minutes: float = 10.0
    start: Path | None = None
    network: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _VariantFile:
    """What a variant does otherwise."""

    says: str = ""
    against: str | None = None
    start: Path | None = None
    branches: bool = True
    network: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)


def load_duels(path: Path) -> Duels:
    """Reads a file of duels: minutes, what all variants share, and what each does otherwise.

    Raises:
        ConfigError: the file is missing, no YAML, or says what means nothing.
    """
    file: _DuelFile = section(_DuelFile, read_yaml(path), str(path))
    if file.minutes <= 0:
        raise ConfigError(f"{path}: minutes must be above 0, not {file.minutes:g}")
    variants = []
    for name, values in file.variants.items():
        where = f"{path}: {name}"
        other: _VariantFile = section(_VariantFile, values, where)
        network = section(NetworkConfig, file.network | other.network, where)
        recipe = section(Recipe, file.recipe | other.recipe, where)
        check_recipe(network, recipe, where)
        if other.against is not None and other.against not in file.variants:
            raise ConfigError(f"{where} is against {other.against}, which is not there")
        start = other.start if "start" in values else file.start
        variants.append(Variant(name, other.says or name, other.against, start, other.branches, network, recipe))
    return Duels(file.minutes, variants)


def run_duels(duels: Duels, shard: Path, results: Path, only: list[str] | None = None) -> list[Outcome]:
    """Runs what was not run yet, one after the other, and writes each outcome as soon as it is there.

    Args:
        results: JSON file of outcomes; those of an earlier call with the same settings stand.
        only: names of variants; none for all.

    Raises:
        ConfigError: there is no variant of a name in ``only``.
    """
    if unknown := set(only or ()) - {variant.name for variant in duels.variants}:
        raise ConfigError(f"there is no variant {', '.join(sorted(unknown))}")
    held_out = HeldOut(shard)
    for variant in duels.variants:
        if only and variant.name not in only:
            continue
        done = read_outcomes(results)
        settings = _settings(variant, held_out)
        if any(one.settings == settings and one.minutes == duels.minutes for one in done if one.name == variant.name):
            log.info("%s is there already", variant.name)
            continue
        outcome = _run(variant, duels.minutes, shard, held_out)
        kept = [one for one in read_outcomes(results) if one.name != variant.name]
        order = {one.name: number for number, one in enumerate(duels.variants)}
        kept = sorted([*kept, outcome], key=lambda one: order.get(one.name, len(order)))
        write_atomically(results, json.dumps([asdict(one) for one in kept], indent=1) + "\n")
    return read_outcomes(results)


def read_outcomes(results: Path) -> list[Outcome]:
    """What earlier calls left."""
    return [Outcome(**one) for one in json.loads(results.read_text())] if results.exists() else []


def table(outcomes: list[Outcome]) -> str:
    """The outcomes as a Markdown table; bits at equal PSNR."""
    curves = {one.name: one.curve for one in outcomes}
    lines = ["| variant | steps | ms a step | bits against | AVIF |", "|---|---|---|---|---|"]
    for one in outcomes:
        against = "-"
        if one.against in curves:
            against = f"{bits_against(curves[one.against], one.curve):+.1f} % {one.against}"
        cost = 60_000 * one.minutes / one.steps
        lines.append(
            f"| {one.says} (`{one.name}`) | {one.steps} | {cost:.0f} | {against} | {one.against_avif:+.1f} % |"
        )
    return "\n".join(lines)


def _run(variant: Variant, minutes: float, shard: Path, held_out: HeldOut) -> Outcome:
    torch.set_num_threads(1)
    crops = TrainingCrops(shard, variant.recipe)
    codec = fresh_codec(variant.network, crops, variant.recipe.seed)
    if variant.start is not None:
        codec = with_what_fits(codec, load_codec(variant.start)[0], branches=variant.branches)
    learner = Learner(codec, variant.recipe, crops)
    # Time of this process on the processor: what else the machine does meanwhile does not count.
    began, skipped = time.process_time(), 0
    while (progress := (time.process_time() - began) / (60 * minutes)) < 1:
        share = linear((progress - _CONSTANT) / (1 - _CONSTANT), _LEAST)
        skipped += learner.advance(share).skipped
    curve = held_out.measure(learner.averaged(), variant.recipe.rate_on)
    against = bits_against(held_out.avif, curve)
    log.info("%s: %d steps, %+.2f %% bits against AVIF", variant.name, learner.step, against)
    rounded = [round(value, 5) for value in curve.bpp], [round(value, 4) for value in curve.psnr]
    return Outcome(
        variant.name, variant.says, variant.against, minutes, learner.step, skipped, *rounded, round(against, 3),
        _settings(variant, held_out),
    )  # fmt: skip


def _settings(variant: Variant, held_out: HeldOut) -> dict[str, Any]:
    stored = {
        "measure": MEASURE,
        "photos": held_out.digest,
        "start": digest(variant.start) if variant.start else None,
        "branches": variant.branches,
        "network": asdict(variant.network),
        "recipe": asdict(variant.recipe),
    }
    plain: dict[str, Any] = json.loads(json.dumps(stored))
    return plain
