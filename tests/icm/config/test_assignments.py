from __future__ import annotations

import pytest

from icm.config.assignments import parse_assignments
from icm.errors import ConfigError


def test_values_are_yaml_and_may_hold_an_equals_sign() -> None:
    pairs = ["ingest.credit=32", "cameras=[{name: gate}]", "database=postgresql://h/db?ssl=on", "name="]
    assert parse_assignments(pairs) == {
        "ingest.credit": 32,
        "cameras": [{"name": "gate"}],
        "database": "postgresql://h/db?ssl=on",
        "name": None,
    }


@pytest.mark.parametrize(("pair", "named"), [("threads", "KEY=VALUE"), ("=3", "KEY=VALUE"), ("a.b={", "--set a.b")])
def test_what_is_no_assignment_is_named_in_one_line(pair: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as error:
        parse_assignments([pair])
    assert "\n" not in str(error.value)
