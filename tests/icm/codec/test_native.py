"""The compiled part of the codec is loaded only if it is there and made from the sources beside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from icm.codec.native import library
from icm.errors import ConfigError


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the library and its sources, which is loaded in their place."""
    folder = Path(library.__file__).parent
    for path in (*folder.glob("*.[ch]"), library._PATH):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(library, "_PATH", tmp_path / library._PATH.name)
    return tmp_path


def test_the_library_fits_its_sources(copied: Path) -> None:
    library._load()


def test_a_library_of_other_sources_is_refused_before_anything_works_on_wrong_memory(copied: Path) -> None:
    with (copied / "kernels.h").open("a") as header:
        header.write("/* another layout */\n")
    with pytest.raises(ConfigError, match="is of another version: install the package anew"):
        library._load()


def test_a_library_that_is_missing_is_named_with_what_to_do(copied: Path) -> None:
    library._PATH.unlink()
    with pytest.raises(ConfigError, match=r"cannot be loaded .*: install the package anew"):
        library._load()


@pytest.mark.parametrize("module", ["icm.command.cli", "edge_service.cli"])
def test_a_command_says_so_in_one_line(module: str) -> None:
    # Any library that cannot be loaded stands for one that is missing.
    code = (
        "import ctypes, sys\n"
        "def missing(*_): raise OSError('no such file')\n"
        "ctypes.CDLL = missing\n"
        f"from {module} import main\n"
        "sys.exit(main(['check']))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "the compiled part of the codec cannot be loaded" in ended.stderr
    assert ended.stderr.count("\n") == 1
