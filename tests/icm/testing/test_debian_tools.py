"""A tool that is missing leaves a test out, but never in CI."""

from __future__ import annotations

import pytest

from tests.debian_tools import needed


@pytest.mark.parametrize(("variable", "ends"), [(None, "skip"), ("CI", "fail"), ("NOTHING_LEFT_OUT", "fail")])
def test_a_missing_tool_leaves_out_a_test_but_in_ci(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, ends: str
) -> None:
    for name in ("CI", "NOTHING_LEFT_OUT"):
        monkeypatch.delenv(name, raising=False)
    if variable is not None:
        monkeypatch.setenv(variable, "1")
    ended = pytest.skip.Exception if ends == "skip" else pytest.fail.Exception
    with pytest.raises(ended, match="needs nosuch: make tools"):
        needed("nosuch")
