"""The example files show every setting, each with its default and a word about it.

A setting that is off is written ``#name: value``; a line of text starts with ``# ``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from cloud_service.settings import CloudSettings
from edge_service.settings import EdgeSettings
from icm.config.settings import ServiceSettings, load_settings
from icm.errors import ConfigError
from tests.deploy.places import ROOT

EXAMPLES = [
    pytest.param(ROOT / "deploy/config/edge.yaml", EdgeSettings, id="edge"),
    pytest.param(ROOT / "deploy/config/cloud.yaml", CloudSettings, id="cloud"),
]
# What has to be chosen, and what is easier to understand by an example than by its default.
CHOSEN = {"bundle", "bundles", "cameras", "database", "archive.url", "retention.floor.order"}
SETTING = re.compile(r"^(?P<indent> *)(?P<off>#?)(?P<item>- )?(?P<name>\w+):(?: |$)")


def blocks(text: str) -> Iterator[str]:
    """The file once as it is, and once for every stretch of settings that are off, with that stretch on alone."""
    yield text
    lines = text.splitlines()
    end = 0
    for start, line in enumerate(lines):
        found = SETTING.match(line)
        if start >= end and found and found["off"]:
            end = start + 1
            while end < len(lines) and (not SETTING.match(lines[end]) or _depth(lines[end]) > _depth(line)):
                end += 1
            on = [re.sub(r"^( *)#(?=[\w-])", r"\1", inner) for inner in lines[start:end]]
            yield "\n".join([*lines[:start], *on, *lines[end:]])


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def loaded(text: str, model: type[ServiceSettings], folder: Path) -> ServiceSettings:
    path = folder / "settings.yaml"
    # An alternative replaces what was on: of a setting that is there twice PyYAML by itself takes the later one.
    path.write_text(yaml.safe_dump(yaml.safe_load(text)))
    return load_settings(model, path, {})


def shown(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names of all settings with their values; kinds of a choice by their kind."""
    if isinstance(value, dict):
        kind = f"({value['kind']})" if "kind" in value else ""
        for name, inner in value.items():
            if name != "kind":
                yield from shown(inner, f"{prefix}{kind}.{name}" if prefix else name)
        if kind:
            yield f"{prefix}{kind}", None
    elif isinstance(value, list):
        for item in value:
            yield from shown(item, prefix)
    else:
        yield prefix, value


def settable(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The same of a model, with defaults."""
    for name, field in model.model_fields.items():
        path = f"{prefix}.{name}" if prefix else name
        models = list(_models(field.annotation))
        if name == "kind":
            continue
        if not models:
            yield path, field.default
        for inner in models:
            if "kind" in inner.model_fields:
                kind = f"{path}({get_args(inner.model_fields['kind'].annotation)[0]})"
                yield kind, None
                yield from settable(inner, kind)
            else:
                yield from settable(inner, path)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for inner in get_args(annotation):
            yield from _models(inner)


@pytest.mark.parametrize(("path", "model"), EXAMPLES)
def test_the_example_loads_with_each_setting_that_is_off_turned_on(
    path: Path, model: type[ServiceSettings], tmp_path: Path
) -> None:
    texts = list(blocks(path.read_text()))
    for text in texts:
        loaded(text, model, tmp_path)
    assert len(texts) >= 4


@pytest.mark.parametrize(("path", "model"), EXAMPLES)
def test_the_example_shows_every_setting_that_there_is(path: Path, model: type[ServiceSettings]) -> None:
    found = {name for text in blocks(path.read_text()) for name, _ in shown(yaml.safe_load(text))}
    assert found == {name for name, _ in settable(model)}


@pytest.mark.parametrize(("path", "model"), EXAMPLES)
def test_what_the_example_shows_is_the_default(path: Path, model: type[ServiceSettings]) -> None:
    defaults = dict(settable(model))
    values = dict(shown(yaml.safe_load(path.read_text())))
    chosen = {name for name in values if name.partition(".")[0] in CHOSEN or name in CHOSEN}
    differing = {
        name: (value, defaults[name])
        for name, value in values.items()
        if name not in chosen and value is not None and str(value) != str(defaults[name]) and value != defaults[name]
    }
    assert not differing


@pytest.mark.parametrize(("path", "model"), EXAMPLES)
def test_a_line_above_each_setting_says_what_it_is(path: Path, model: type[ServiceSettings]) -> None:
    lines = path.read_text().splitlines()
    bare = [
        f"{path.name}:{number + 1}: {line}"
        for number, line in enumerate(lines)
        if (found := SETTING.match(line))
        # What opens a section or an item that was just described needs no second word.
        if not re.match(r" *# ", lines[number - 1]) and found["name"] not in {"source", "kind"}
    ]
    assert not bare


def numbers(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Dotted names of the settings that are numbers, with the bounds that their fields have."""
    for name, field in model.model_fields.items():
        for inner in _models(field.annotation):
            yield from numbers(inner, f"{prefix}{name}.")
        if {int, float} & {field.annotation, *get_args(field.annotation)}:
            yield f"{prefix}{name}", field.metadata


@pytest.mark.parametrize("model", [EdgeSettings, CloudSettings])
def test_every_number_has_a_lower_and_an_upper_bound(model: type[ServiceSettings]) -> None:
    found = dict(numbers(model))
    assert {"threads"} < set(found)

    def bounded(bounds: list[Any], *sides: str) -> bool:
        return any(hasattr(bound, side) for bound in bounds for side in sides)

    assert not [
        name for name, bounds in found.items() if not (bounded(bounds, "ge", "gt") and bounded(bounds, "le", "lt"))
    ]


@pytest.mark.parametrize("number", ["1000000000", ".inf", ".nan", "1.0e+300", "-1"])
def test_a_number_beyond_its_bound_is_refused_with_the_bound(tmp_path: Path, number: str) -> None:
    path = tmp_path / "edge.yaml"
    cameras = "[{name: a, source: {kind: submitted}}]"
    path.write_text(f"{{bundle: x, spool: {{max_age_seconds: {number}}}, cameras: {cameras}}}")
    bound = r"max_age_seconds: Input should be (less than or equal to 315360000|greater than 0)"
    with pytest.raises(ConfigError, match=bound):
        load_settings(EdgeSettings, path, {})
