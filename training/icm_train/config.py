"""A training run's settings: one YAML file, a section a stage."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from icm.config.yaml_text import parse_yaml
from icm.errors import ConfigError
from icm_train.models.networks import NetworkConfig
from icm_train.stages.context import ContextConfig
from icm_train.stages.finetune import FinetuneConfig
from icm_train.stages.object_region import ObjectRegionConfig
from icm_train.stages.quantise import QuantiseConfig
from icm_train.stages.temporal import TemporalConfig
from icm_train.stages.trainer import TrainerConfig

CONFIGS = Path(__file__).parent / "configs"
"""The settings of the runs that were done."""


@dataclass(frozen=True)
class TrainingConfig:
    """A training run's YAML file; what a section leaves out has its default."""

    network: NetworkConfig
    base: TrainerConfig
    object: ObjectRegionConfig
    finetune: FinetuneConfig
    context: ContextConfig
    quantise: QuantiseConfig
    temporal: TemporalConfig


_SECTIONS: dict[str, type[Any]] = {
    "network": NetworkConfig,
    "base": TrainerConfig,
    "object": ObjectRegionConfig,
    "finetune": FinetuneConfig,
    "context": ContextConfig,
    "quantise": QuantiseConfig,
    "temporal": TemporalConfig,
}


def load_config(path: Path) -> TrainingConfig:
    """Reads a training run's settings.

    Raises:
        ConfigError: the file is missing, no YAML, holds a key that means nothing or a value of the wrong type.
    """
    content = read_yaml(path)
    if set(content) - set(_SECTIONS):
        raise ConfigError(f"{path}: only {', '.join(sorted(_SECTIONS))} may stand at the top")
    sections = {name: section(kind, content.get(name, {}), f"{path}: {name}") for name, kind in _SECTIONS.items()}
    levels = len(sections["network"].lambdas)
    for name in ("base", "object", "finetune", "context"):
        if sections[name].batch % levels or sections[name].crop % 64:
            raise ConfigError(
                f"{path}: {name}.batch must be a multiple of the number of lambdas, {name}.crop one of 64"
            )
    return TrainingConfig(**sections)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds settings by name.

    Raises:
        ConfigError: it is missing, no YAML, or holds something else.
    """
    try:
        content = parse_yaml(path.read_text()).values or {}
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise ConfigError(f"cannot read the training config {path}: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold settings by name, not {content!r}")
    return content


def section(kind: type[Any], values: Any, where: str) -> Any:
    """Settings as the dataclass ``kind``.

    Args:
        values: as YAML gave them.
        where: file and section, for errors.

    Raises:
        ConfigError: a setting is unknown, or its value of the wrong type.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where} must hold settings by name, not {values!r}")
    known = {field.name for field in fields(kind)}
    if unknown := [str(name) for name in values if name not in known]:
        raise ConfigError(f"{where} has no setting {', '.join(sorted(unknown))}")
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in found['loc'])} is {found['input']!r}: {found['msg']}"
            for found in error.errors(include_url=False)
        )
        raise ConfigError(f"{where}.{wrong}") from None
