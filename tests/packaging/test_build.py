"""What the build hook builds for which machine, and where it says that it cannot.

The hook's base class comes with the build and is not installed beside the tests, so an empty one stands in for it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

import pytest

from icm.codec.native import library

HOOK = Path(__file__).parents[2] / "hatch_build.py"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    class Base(Generic[TypeVar("T")]):
        """As hatchling's."""

    interface: Any = ModuleType("hatchling.builders.hooks.plugin.interface")
    interface.BuildHookInterface = Base
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    spec = importlib.util.spec_from_file_location("hatch_build", HOOK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("system", "machine", "target", "tag"),
    [
        ("Linux", "x86_64", "x86_64-linux-gnu.2.28", "manylinux_2_28_x86_64"),
        ("Linux", "aarch64", "aarch64-linux-gnu.2.28", "manylinux_2_28_aarch64"),
        ("Linux", "arm64", "aarch64-linux-gnu.2.28", "manylinux_2_28_aarch64"),
        ("Darwin", "arm64", "aarch64-macos.11.0", "macosx_11_0_arm64"),
        ("Darwin", "x86_64", "x86_64-macos.11.0", "macosx_11_0_x86_64"),
    ],
)
def test_a_wheel_is_built_for_the_oldest_system_that_its_name_promises(
    hook: ModuleType, system: str, machine: str, target: str, tag: str
) -> None:
    assert hook.target_and_tag(system, machine) == (target, tag)


@pytest.mark.parametrize(
    ("system", "machine", "told"),
    [
        ("Windows", "amd64", "not on Windows; on Windows use it inside WSL"),
        ("FreeBSD", "amd64", "not on FreeBSD"),
        ("Linux", "armv7l", "not on armv7l"),
        ("Linux", "riscv64", "not on riscv64"),
    ],
)
def test_where_it_does_not_run_the_build_says_so(hook: ModuleType, system: str, machine: str, told: str) -> None:
    with pytest.raises(RuntimeError, match=told):
        hook.target_and_tag(system, machine)


def test_the_library_is_looked_for_under_the_name_that_it_is_built_with(hook: ModuleType) -> None:
    assert library._PATH.name == f"kernels{hook.SUFFIXES[library.platform.system()]}"
