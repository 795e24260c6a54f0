"""Programs of Debian's that tests measure against: installed, or unpacked by ``make test`` into ``.cache/tools``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

UNPACKED = Path(__file__).parents[1] / ".cache/tools/usr"
"""What would be ``/usr``."""


def path_of(name: str) -> str | None:
    """The program of a name; None where it is neither installed nor unpacked."""
    return shutil.which(name) or shutil.which(name, path=UNPACKED / "bin")


def may_leave_out() -> bool:
    """Whether a test may be left out for want of a tool: not in CI, which ``.ci/run`` says by ``NOTHING_LEFT_OUT``.

    That is not ``CI`` alone, since with it hypothesis would try the same examples each time.
    """
    return not (os.environ.get("NOTHING_LEFT_OUT") or os.environ.get("CI"))


def leave_out(reason: str) -> NoReturn:
    """Leaves a test out for want of something that ``make test`` gets; in CI, where that must be there, it fails."""
    pytest.skip(reason) if may_leave_out() else pytest.fail(reason)


def needed(name: str) -> str:
    """The program of a name; without it the test is left out, but in CI, where it fails."""
    return path_of(name) or leave_out(f"needs {name}: make tools")


def environment(registry: Path | None = None) -> dict[str, str]:
    """This process's environment, in which what was unpacked finds its libraries.

    Args:
        registry: a folder where GStreamer may write down which plugins it has.
    """
    libraries = next(UNPACKED.glob("lib/*-linux-gnu"), None)
    if libraries is None:
        return dict(os.environ)
    places = [libraries, *(libraries / name for name in ("blas", "lapack", "pulseaudio"))]
    result = os.environ | {"LD_LIBRARY_PATH": ":".join(map(str, places))}
    if (libraries / "gstreamer-1.0").is_dir():
        result |= {
            "GI_TYPELIB_PATH": str(libraries / "girepository-1.0"),
            # Its core may be installed all the same, as other programs need that.
            "GST_PLUGIN_SYSTEM_PATH": f"{libraries / 'gstreamer-1.0'}:/usr/lib/{libraries.name}/gstreamer-1.0",
            "PYTHONPATH": str(UNPACKED / "lib/python3/dist-packages"),
        }
    if registry is not None:
        result["GST_REGISTRY"] = str(registry / "registry")
    return result
