"""``--set KEY=VALUE`` on the command lines of the services."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from shared.errors import ConfigError


def parse_assignments(pairs: Iterable[str]) -> dict[str, Any]:
    """Values by dotted name, as ``shared.settings.load_settings`` takes them; each value is YAML.

    Raises:
        ConfigError: one is no KEY=VALUE, or its value no YAML.
    """
    flags = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise ConfigError(f"--set takes KEY=VALUE, such as metrics.address=127.0.0.1:9000, not {pair!r}")
        try:
            flags[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {name}: the value is no YAML: {' '.join(str(error).split())}") from None
    return flags
