"""Where ``icm`` writes: whole files or nothing, and never over what is no file or is the one being read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from icm.atomic_file import atomic_writer
from icm.errors import ConfigError
from icm.service.command_line import STANDARD_OUTPUT

STANDARD = Path("-")
"""Standard input or output."""
_STANDARD_OUTPUT = (STANDARD, Path("/dev/stdout"), Path("/dev/fd/1"), Path("/proc/self/fd/1"))


def is_standard(target: Path) -> bool:
    """Whether that is standard output, by either of its names."""
    return target in _STANDARD_OUTPUT


@contextmanager
def open_output(target: Path, source: Path) -> Iterator[BinaryIO]:
    """The file to write. It gets its name once the block is done, and is gone if the block fails.

    A link is followed. ``-`` is standard output. What is no regular file, such as a pipe, is written to as it stands.

    Args:
        source: what is read meanwhile, and so cannot be written.

    Raises:
        ConfigError: it cannot be written.
        OSError: standard output cannot be written.
    """
    try:
        if is_standard(target):
            with _standard_output() as file:
                yield file
            return
        _check(target, source)
        if target.exists() and not target.is_file():
            with target.open("wb") as file:
                yield file
            return
        with atomic_writer(target) as file:
            yield file
    except OSError as error:
        if is_standard(target):
            error.filename = STANDARD_OUTPUT
            raise
        raise ConfigError(f"cannot write {target}: {error.strerror or error}") from None


def _check(target: Path, source: Path) -> None:
    try:
        target.resolve()
    except RuntimeError:
        raise ConfigError(f"cannot write {target}: its link leads back to itself") from None
    if target.is_dir():
        raise ConfigError(f"{target} is a folder: name the file to write, such as {target / 'out.icm'}")
    if target.exists() and source.exists() and target.samefile(source):
        raise ConfigError(f"{target} is the file to read: name another one to write")


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    if sys.stdout is None:
        raise ConfigError("there is no standard output to write to")
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()
