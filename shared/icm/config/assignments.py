"""``--set KEY=VALUE`` on the command lines of the services."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from icm.config.yaml_text import parse_yaml
from icm.errors import ConfigError

_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%\w+)?\](?::.*)?")
"""An IPv6 address, with or without a port."""


def parse_assignments(pairs: Iterable[str]) -> dict[str, Any]:
    """Values by dotted name, as ``icm.config.settings.load_settings`` takes them; each value is YAML.

    Raises:
        ConfigError: one is no KEY=VALUE, or its value no YAML.
    """
    flags: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise ConfigError(f"--set takes KEY=VALUE, such as metrics.address=127.0.0.1:9000, not {name!r}")
        flags[name] = _value(name, value)
    return flags


def _value(name: str, text: str) -> Any:
    if _IPV6.fullmatch(text):
        # To YAML a bracket opens a list.
        return text
    try:
        return parse_yaml(text).values
    except ConfigError as error:
        raise ConfigError(f"--set {name}: the value is no YAML: {error}") from None
