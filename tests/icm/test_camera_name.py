"""Camera names become folders and labels, so few characters are allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm.camera_name import check_camera_name
from icm.errors import ConfigError


@given(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True))
def test_plain_names_are_allowed(name: str) -> None:
    assert check_camera_name(name) == name


@pytest.mark.parametrize("name", ["", "Gate", "../x", "a/b", "-a", "a b", "a\n", "a" * 65, "tür", "a.b", "\0"])
def test_other_names_are_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(ConfigError, match="1 to 64 characters"):
        check_camera_name(name)
