"""Where the bundle lies that ships with the project."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[2]
_INSTALLED = _PACKAGE / "bundles"
_CHECKOUT = _PACKAGE.parents[1] / "models"

DEFAULT_BUNDLE = (_INSTALLED if _INSTALLED.is_dir() else _CHECKOUT) / "icm-1"
"""A folder: inside the package where it is installed, in ``models`` in a checkout."""
