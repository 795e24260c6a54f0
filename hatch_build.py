"""Compiles the kernels of ``shared/icm/codec/native`` when the project is installed or a wheel is built, and lays the
bundles that ship into what is built.

The compiler is Zig's C compiler, which a package registry has for every common machine, so that nothing needs to be
installed beside Python. The library is plain C without Python's headers: one wheel serves every version of Python.

Linux is what the project is tested on. For macOS the kernels compile, which is all that is known of it. On Windows no
command would start, as files are locked and processes stopped in POSIX's ways; so nothing is built there.
"""

from __future__ import annotations

import os
import platform
import runpy
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("shared/icm/codec/native")
SHIPPED = Path("shared/icm/codec/bundle/shipped.py")
"""Has the names of the bundles that ship."""
GLIBC, MACOS = "2.28", "11.0"
"""The oldest C library of Linux and the oldest macOS that the kernels run on. Zig by itself takes those of the machine
that it runs on, and a wheel would promise more than is true."""
SUFFIXES = {"Linux": ".so", "Darwin": ".dylib"}
ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
"""Of what a machine calls itself, Zig's and Linux's name."""
OPTIONS = ["-shared", "-fPIC", "-mcpu=baseline", "-O3", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion"]


class ProjectHook(BuildHookInterface[Any]):
    """Adds the compiled library to an editable install or a wheel; of an sdist there is nothing to compile.

    A wheel has the bundles inside the package, an sdist where a checkout has them; an editable install uses those.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            home = "models" if self.target_name == "sdist" else "icm/bundles"
            names = runpy.run_path(str(Path(self.root) / SHIPPED))["SHIPPED"]
            build_data["force_include"].update({f"models/{name}": f"{home}/{name}" for name in names})
        if self.target_name == "sdist":
            return  # sources only: whoever builds from them compiles for their machine
        system, machine = platform.system(), platform.machine().lower()
        target, tag = target_and_tag(system, machine)
        library = SOURCES / f"kernels{SUFFIXES[system]}"
        compile_kernels(Path(self.root), library, target)
        build_data["artifacts"].append(library.as_posix())
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{tag}"


def target_and_tag(system: str, machine: str) -> tuple[str, str]:
    """What Zig calls a system and machine, and what the name of a wheel for it says.

    Raises:
        RuntimeError: the project does not run there.
    """
    if system not in SUFFIXES:
        raise RuntimeError(f"ICM Bridge runs on Linux, not on {system}; on Windows use it inside WSL or a container")
    if machine not in ARCHITECTURES:
        raise RuntimeError(
            f"ICM Bridge runs on x86-64 and 64-bit ARM, not on {machine}: ONNX Runtime has no build for it either"
        )
    architecture = ARCHITECTURES[machine]
    if system == "Linux":
        return f"{architecture}-linux-gnu.{GLIBC}", f"manylinux_{GLIBC.replace('.', '_')}_{architecture}"
    apples = "arm64" if architecture == "aarch64" else architecture
    return f"{architecture}-macos.{MACOS}", f"macosx_{MACOS.replace('.', '_')}_{apples}"


def compile_kernels(root: Path, library: Path, target: str) -> None:
    """Compiles all sources into one library for a target; both paths are relative to the root."""
    sources = sorted(path.as_posix() for path in (root / SOURCES).glob("*.c"))
    # So that whoever loads the library can tell that it was made from the sources beside it.
    said = (
        f"-DICM_SOURCES={zlib.crc32(b''.join(path.read_bytes() for path in sorted((root / SOURCES).glob('*.[ch]'))))}U"
    )
    with tempfile.TemporaryDirectory() as cache:
        places = {"ZIG_LOCAL_CACHE_DIR": cache, "ZIG_GLOBAL_CACHE_DIR": cache}
        # Under another name first: a process that runs with the library must not see half of a new one.
        fresh = root / library.with_name(f".{library.name}.{os.getpid()}")
        compiler = [sys.executable, "-m", "ziglang", "cc", *OPTIONS, said, "-target", target]
        command = [*compiler, "-o", str(fresh), *sources]
        subprocess.run(command, check=True, env=os.environ | places)
        fresh.replace(root / library)
