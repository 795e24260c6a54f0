"""Settings of a service: a YAML file, then the environment, then flags; later ones win, unknown keys are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from shared.errors import ConfigError

SettingsType = TypeVar("SettingsType", bound="ServiceSettings")


def _check_address(address: str) -> str:
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdigit() and int(port) <= 65_535):
        raise ValueError("an address is host:port with a port of 0 to 65535")
    return address


Address = Annotated[str, AfterValidator(_check_address)]
"""host:port; port 0 picks a free one where somebody listens."""


class Section(BaseModel):
    """Settings that belong together; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServiceSettings(BaseSettings):
    """Base of each service's settings model. Every field carries a description with its unit."""

    model_config = SettingsConfigDict(extra="forbid", env_nested_delimiter="__", validate_default=True)


def load_settings(model: type[SettingsType], path: Path | None, flags: dict[str, Any]) -> SettingsType:
    """Builds the settings from a YAML file, the environment (by the model's prefix) and flags.

    Args:
        path: the file, or None for none.
        flags: values by dotted name, such as ``{"cloud.address": "localhost:8443"}``; None values are left out.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is not allowed; names each one.
    """
    values = _read(path) if path else {}
    _check_environment(model)
    try:
        environment = EnvSettingsSource(model)()
    except SettingsError as error:
        raise ConfigError(f"an environment variable holds no valid JSON: {error}") from None
    merged = _merge(values, environment)
    for name, value in flags.items():
        if value is not None:
            *parents, last = name.split(".")
            nested: dict[str, Any] = {last: value}
            for parent in reversed(parents):
                nested = {parent: nested}
            merged = _merge(merged, nested)
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain_errors(error, path)) from None


def explain_settings(model: type[ServiceSettings]) -> str:
    """Every setting with its default and meaning, one paragraph each, for ``config --explain`` and the docs."""
    lines: list[str] = []
    _explain(model.model_fields, "", lines)
    return "\n".join(lines)


def _explain(fields: dict[str, FieldInfo], prefix: str, lines: list[str]) -> None:
    for name, field in fields.items():
        models = _nested_models(field.annotation)
        if not models:
            default = field.get_default(call_default_factory=True) if not field.is_required() else PydanticUndefined
            shown = "required" if default is PydanticUndefined else f"default {default!s}"
            lines.append(f"{prefix}{name} ({shown}): {field.description}")
            continue
        if field.description:
            lines.append(f"{prefix}{name}: {field.description}")
        repeated = "[]" if get_origin(field.annotation) is list else ""
        for model in models:
            inner = dict(model.model_fields)
            kind = inner.pop("kind", None)
            if kind is not None:
                # One of several shapes, told apart by its kind.
                lines.append(f"{prefix}{name}{repeated}.kind = {get_args(kind.annotation)[0]}: {_first_line(model)}")
            _explain(inner, f"{prefix}{name}{repeated}.", lines)


def _nested_models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field's value may be, or be a list of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _nested_models(argument)]


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().partition("\n")[0]


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold settings by name, not a {type(values).__name__}")
    return values


def _check_environment(model: type[ServiceSettings]) -> None:
    import os

    prefix = model.model_config.get("env_prefix", "")
    if not prefix:
        return
    for name in os.environ:
        if name.startswith(prefix):
            key = name[len(prefix) :].lower().split("__")[0]
            if key not in model.model_fields:
                raise ConfigError(f"the environment variable {name} sets no setting: there is no {key!r}")


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _explain_errors(error: ValidationError, path: Path | None) -> str:
    where = f" in {path}" if path else ""
    problems = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            problems.append(f"{name}: unknown setting")
        elif item["type"] == "missing":
            problems.append(f"{name}: required, but not set")
        else:
            problems.append(f"{name}: {item['msg']} (got {item['input']!r})")
    return f"bad settings{where}: " + "; ".join(problems)
