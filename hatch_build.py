"""Compiles the kernels of ``shared/icm/codec/native`` when the project is installed or a wheel is built.

The compiler is Zig's C compiler, which a package registry has for every common machine, so that nothing needs to be
installed beside Python. The library is plain C without Python's headers: one wheel serves every version of Python.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("shared/icm/codec/native")
GLIBC = "2.28"
"""The oldest C library of Linux that the kernels run on."""
SUFFIXES = {"Linux": ".so", "Darwin": ".dylib", "Windows": ".dll"}
OPTIONS = ["-shared", "-fPIC", "-mcpu=baseline", "-O3", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion"]


class KernelsHook(BuildHookInterface[Any]):
    """Adds the compiled library to an editable install or a wheel; of an sdist there is nothing to compile."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name == "sdist":
            return  # sources only: whoever builds from them compiles for their machine
        system, machine = platform.system(), platform.machine().lower()
        if system not in SUFFIXES:
            raise RuntimeError(f"there is no build of the compiled kernels for {system}")
        library = SOURCES / f"kernels{SUFFIXES[system]}"
        compile_kernels(Path(self.root), library, system, machine)
        build_data["artifacts"].append(library.as_posix())
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform_tag(system, machine)}"


def compile_kernels(root: Path, library: Path, system: str, machine: str) -> None:
    """Compiles all sources into one library; both paths are relative to the root."""
    target = [] if system != "Linux" else ["-target", f"{_ARCHITECTURES.get(machine, machine)}-linux-gnu.{GLIBC}"]
    sources = sorted(path.as_posix() for path in (root / SOURCES).glob("*.c"))
    # So that whoever loads the library can tell that it was made from the sources beside it.
    said = (
        f"-DICM_SOURCES={zlib.crc32(b''.join(path.read_bytes() for path in sorted((root / SOURCES).glob('*.[ch]'))))}U"
    )
    with tempfile.TemporaryDirectory() as cache:
        places = {"ZIG_LOCAL_CACHE_DIR": cache, "ZIG_GLOBAL_CACHE_DIR": cache}
        # Under another name first: a process that runs with the library must not see half of a new one.
        fresh = root / library.with_name(f".{library.name}.{os.getpid()}")
        command = [sys.executable, "-m", "ziglang", "cc", *OPTIONS, said, *target, "-o", str(fresh), *sources]
        subprocess.run(command, check=True, env=os.environ | places)
        fresh.replace(root / library)


_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


def _platform_tag(system: str, machine: str) -> str:
    if system == "Linux":
        return f"manylinux_{GLIBC.replace('.', '_')}_{_ARCHITECTURES.get(machine, machine)}"
    if system == "Darwin":
        return f"macosx_11_0_{machine}"
    return {"amd64": "win_amd64", "arm64": "win_arm64"}[machine]
