"""A long run's settings: one YAML file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from icm.errors import ConfigError
from icm_train.config import read_yaml, section
from icm_train.learning.recipe import Recipe, check_recipe
from icm_train.models.networks import NetworkConfig


@dataclass(frozen=True)
class LongRunConfig:
    """A long run's settings.

    Attributes:
        start: a bundle whose linear transforms and entropy model an untrained codec begins with; none for a plain DCT.
        save_every: steps between checkpoints, the most that a kill can lose.
        measure_every: steps between measurements on the held-out photos.
    """

    network: NetworkConfig
    recipe: Recipe
    start: Path | None = None
    save_every: int = 250
    measure_every: int = 5000


def load_long_config(path: Path) -> LongRunConfig:
    """Reads a long run's settings.

    Raises:
        ConfigError: the file is missing, no YAML, holds a key that means nothing or a value that does not fit.
    """
    content = read_yaml(path)
    network = section(NetworkConfig, content.pop("network", {}), f"{path}: network")
    recipe = section(Recipe, content.pop("recipe", {}), f"{path}: recipe")
    if unknown := set(content) - {field.name for field in fields(LongRunConfig)}:
        raise ConfigError(f"{path} has no setting {', '.join(sorted(map(str, unknown)))}")
    check_recipe(network, recipe, str(path))
    config: LongRunConfig = section(LongRunConfig, content | {"network": network, "recipe": recipe}, str(path))
    if min(config.save_every, config.measure_every) < 1:
        raise ConfigError(f"{path}: save_every and measure_every must be at least 1")
    return config
