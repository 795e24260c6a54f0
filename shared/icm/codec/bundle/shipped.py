"""Which bundles ship with the project, and where they lie."""

from __future__ import annotations

from pathlib import Path

SHIPPED = ("icm-2", "icm-1")
"""Names of the bundles, a folder each: first the one that is used where none is named, then those of before, whose
records are read for ever. What is built (``hatch_build.py``, ``deploy/docker/``) takes the names from here."""

_PACKAGE = Path(__file__).parents[2]
_INSTALLED = _PACKAGE / "bundles"
_CHECKOUT = _PACKAGE.parents[1] / "models"

SHIPPED_BUNDLES = tuple((_INSTALLED if _INSTALLED.is_dir() else _CHECKOUT) / name for name in SHIPPED)
"""Their folders: inside the package where it is installed, in ``models`` in a checkout."""
DEFAULT_BUNDLE = SHIPPED_BUNDLES[0]
"""The folder of the one that is used where none is named."""


def with_shipped(*folders: Path) -> list[Path]:
    """These folders of bundles, and after them those that ship, where they are not among them."""
    named = {folder.resolve() for folder in folders}
    return [*folders, *(folder for folder in SHIPPED_BUNDLES if folder.resolve() not in named)]
