"""Pillow as it was, after an import that changes it.

Ultralytics replaces ``PIL.Image.open`` by a function that installs packages when a file is no picture. Whoever looks
whether a file is one would get an error of that installation for an answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import PIL.Image


@contextmanager
def pillow_kept() -> Iterator[None]:
    """Whatever the block does to ``PIL.Image.open`` is undone at its end."""
    opener = PIL.Image.open
    try:
        yield
    finally:
        PIL.Image.open = opener
