"""YAML that people write. What YAML lets pass without a word, and is hardly ever meant, is an error."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import yaml

from icm.errors import ConfigError

_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class YamlText:
    """What a text says.

    Attributes:
        values: as Python has them; None of an empty text.
        root: the same as it is written.
    """

    values: Any
    root: yaml.Node | None

    def hint(self, path: Sequence[str | int], value: Any) -> str:
        """What to do about a value that should be a text and was read as something else; empty if it was not.

        Args:
            path: names and positions that lead to it. Names that are not here are passed over: some name a choice among
                several models and nothing in the text.
            value: as it was read, here or elsewhere.
        """
        node = self.root
        for step in path:
            node = _below(node, step) or node
        written = node.value if isinstance(node, yaml.ScalarNode) and _same(node, value) else ""
        if value is None and not written:
            return ""  # nothing stands there
        if not (kind := _kind(value)):
            return ""
        return f"YAML reads {written or 'it'} as {kind}: quote it" + (f', as in "{written}"' if written else "")


def parse_yaml(text: str) -> YamlText:
    """Parses one document.

    Raises:
        ConfigError: it is no YAML, a name stands twice in one mapping or is no text, or a value looks like a number or
            a time and is none. The error names the line and quotes no text, which may be secret.
    """
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return YamlText(None, None)
        _check(root, loader, set())
        return YamlText(loader.construct_document(root), root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        # What is quoted of the text, and not of YAML's own signs, may be secret.
        problem = re.sub(r"'(?!<)[^']{2,}'", "'...'", error.problem or error.context or "")
        raise ConfigError(f"{where}{problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ConfigError("it is nested too deeply") from None


def _kind(value: Any) -> str:
    """What YAML took a text for; empty if for a text, or what holds several values."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "a time" if isinstance(value, date) else ""


def _same(node: yaml.ScalarNode, value: Any) -> bool:
    read = yaml.SafeLoader("").construct_object(node)
    return type(read) is type(value) and bool(read == value)


def _below(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step]  # type: ignore[no-any-return]
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == str(step):
                return value  # type: ignore[no-any-return]
    return None


def _check(node: yaml.Node, loader: yaml.SafeLoader, seen: set[int]) -> None:
    """Looks at a node and all below it, each once: one may stand in several places, or within itself."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        _value(node, loader)
    elif isinstance(node, yaml.SequenceNode):
        for below in node.value:
            _check(below, loader, seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[Any, int] = {}
        for key, below in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                name, line = _value(key, loader), key.start_mark.line + 1
                if kind := _kind(name):
                    raise ConfigError(f"line {line}: YAML reads the name {key.value} as {kind}: quote it")
                if name in lines:
                    raise ConfigError(
                        f"{key.value!r} stands twice, in lines {lines[name]} and {line}: only one can hold"
                    )
                lines[name] = line
            _check(below, loader, seen)


def _value(node: yaml.ScalarNode, loader: yaml.SafeLoader) -> Any:
    try:
        return loader.construct_object(node)
    except (ValueError, OverflowError):
        line = node.start_mark.line + 1
        raise ConfigError(
            f"line {line}: YAML takes {node.value} for a number or a time, and it is none: quote it"
        ) from None
