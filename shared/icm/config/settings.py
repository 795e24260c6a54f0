"""Settings of a service: a YAML file, then the environment, then flags; later ones win, unknown keys are errors."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from icm.config.addresses import parse_address
from icm.config.yaml_text import YamlText, parse_yaml
from icm.errors import ConfigError

SettingsType = TypeVar("SettingsType", bound="ServiceSettings")


_MOST_SHOWN = 80
"""Characters of a wrong value that an error quotes."""
_MAY_BE_SECRET = re.compile(r"[@=]|:/|//")
"""In a value that may be an address with a password in it, as it was meant or mistyped."""


def _check_address(address: str) -> str:
    try:
        return str(parse_address(address))
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _check_peer(address: str) -> str:
    if parse_address(address).port == 0:
        raise ValueError("nobody can be reached at port 0: give the port that the other side listens at")
    return address


Address = Annotated[str, AfterValidator(_check_address)]
"""host:port that this side listens at; port 0 picks a free one."""
PeerAddress = Annotated[Address, AfterValidator(_check_peer)]
"""host:port of the other side."""


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
    file = _read(path) if path else YamlText({}, None)
    _check_environment(model)
    try:
        environment = _Environment(model)()
    except SettingsError as error:
        raise ConfigError(f"an environment variable holds no valid JSON: {error}") from None
    merged = _merge(file.values, environment)
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
        raise ConfigError(_explain_errors(error, path, file)) from None


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


def _read(path: Path) -> YamlText:
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not valid YAML: it is no UTF-8: {error.reason}") from None
    try:
        file = parse_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if file.values is None:
        return YamlText({}, None)
    if not isinstance(file.values, dict):
        raise ConfigError(f"{path} must hold settings by name, not a {type(file.values).__name__}")
    return file


class _Environment(EnvSettingsSource):
    """Values of environment variables; those of whole sections are JSON."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        # Another error than pydantic's own for a name that stands twice, which it would let pass.
        return json.loads(value, object_pairs_hook=_each_once)


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"an environment variable holds JSON in which {twice!r} stands twice: only one can hold")
    return dict(pairs)


def _check_environment(model: type[ServiceSettings]) -> None:
    prefix = model.model_config.get("env_prefix", "")
    if not prefix:
        return
    seen: set[str] = set()
    for name in os.environ:
        if name.upper().startswith(prefix):
            key = name[len(prefix) :].lower()
            if key.split("__")[0] not in model.model_fields:
                raise ConfigError(
                    f"the environment variable {name} sets no setting: there is no {key.split('__')[0]!r}"
                )
            if key in seen:
                raise ConfigError(f"the environment variable {name} stands there twice, in large and small letters")
            seen.add(key)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _explain_errors(error: ValidationError, path: Path | None, file: YamlText) -> str:
    where = f" in {path}" if path else ""
    problems = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            problems.append(f"{name}: unknown setting")
        elif item["type"] == "missing":
            problems.append(f"{name}: required, but not set")
        else:
            message = item["msg"].removeprefix("Value error, ")
            problems.append(f"{name}: {message}{_shown(item['input'])}{_hint(item, file)}")
    return f"bad settings{where}: " + "; ".join(problems)


def _shown(value: Any) -> str:
    """The wrong value, unless it may hold a secret: addresses do, also where they are mistyped or stand elsewhere."""
    if isinstance(value, dict | list) or (isinstance(value, str) and _MAY_BE_SECRET.search(value)):
        return ""
    text = repr(value)
    return f" (got {text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + '...'})"


def _hint(item: ErrorDetails, file: YamlText) -> str:
    path, value = item["loc"], item["input"]
    if item["type"] == "union_tag_invalid":
        path, value = (*path, "kind"), value["kind"]
    elif item["type"] not in ("string_type", "path_type", "literal_error"):
        return ""
    hint = file.hint(path, value)
    return f"; {hint}" if hint else ""
