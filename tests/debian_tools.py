"""Programs of Debian's that tests measure against: installed, or unpacked by ``make test`` into ``.cache/tools``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

UNPACKED = Path(__file__).parents[1] / ".cache/tools/usr"
"""What would be ``/usr``."""


def path_of(name: str) -> str | None:
    """The program of a name; None where it is neither installed nor unpacked."""
    return shutil.which(name) or shutil.which(name, path=UNPACKED / "bin")


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
