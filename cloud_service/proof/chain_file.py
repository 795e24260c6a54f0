"""One camera's chain on the disk: read from anywhere, and appended to."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from icm.atomic_file import write_atomically
from icm.errors import ProofError
from icm.folders import make_folder, sync_folder
from icm.proof.chain import BLOCK, Head, Link, read_links

log = logging.getLogger(__name__)
FOLDER = "proof"
"""Of the chains, in the store's folder."""
_ENDING = ".chain"
_START = f"{BLOCK} ".encode()


class PlacedLink(NamedTuple):
    """A block and where it lies in its file, in bytes."""

    link: Link
    offset: int
    length: int

    @property
    def end(self) -> int:
        """Of the block."""
        return self.offset + self.length


class ChainFile:
    """The chain of one camera. Not thread-safe."""

    def __init__(self, folder: Path, camera: str) -> None:
        """Args: folder, of all chains."""
        self.path = folder / f"{camera}{_ENDING}"

    def links(self, offset: int = 0, damage: list[str] | None = None) -> Iterator[PlacedLink]:
        """The whole blocks from an offset on, unchecked.

        Args:
            damage: what cannot be read is told here, and reading goes on at the next block that can be.

        Raises:
            ProofError: something cannot be read, and nobody asked to be told.
            OSError: the file cannot be read.
        """
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            while True:
                file.seek(offset)
                try:
                    for link in read_links(iter(file)):
                        end = file.tell()
                        yield PlacedLink(link, offset, end - offset)
                        offset = end
                    return
                except ProofError as error:
                    text = f"{self.path.name}, byte {offset}: {error}"
                    if damage is None:
                        raise ProofError(text) from None
                    damage.append(text)
                    offset = _next_block(file, offset)

    def ends_with(self, head: Head, size: int) -> bool:
        """Whether this head is what the first ``size`` bytes end with.

        Raises:
            OSError: the file cannot be read.
        """
        line = head.line() + b"\n"
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, size - len(line)))
                return file.read(len(line)) == line
        except FileNotFoundError:
            return False

    def frame(self, offset: int, length: int) -> tuple[bytes, bytes]:
        """The first and the last line of a block, without their ends: its own, and its head.

        Raises:
            OSError: the file cannot be read.
        """
        with self.path.open("rb") as file:
            file.seek(offset)
            lines = file.read(length).splitlines()
        return (lines[0], lines[-1]) if lines else (b"", b"")

    def size(self) -> int:
        """Of the file, in bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def cut(self, size: int) -> None:
        """Cuts off what follows the last whole block, and keeps it in a file beside this one.

        Raises:
            OSError: the disk refused.
        """
        with self.path.open("r+b") as file:
            file.seek(size)
            write_atomically(self._free_name(), file.read())
            file.truncate(size)
            os.fsync(file.fileno())

    def append(self, link: Link) -> PlacedLink:
        """Writes a block, which is on the disk when this returns.

        Raises:
            OSError: the disk refused; the file is as it was, but where it refused that too.
        """
        new = not self.path.exists()
        make_folder(self.path.parent)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            offset = os.fstat(descriptor).st_size
            packed = link.pack()
            try:
                view = memoryview(packed)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fdatasync(descriptor)
            except OSError:
                with suppress(OSError):
                    os.truncate(descriptor, offset)
                raise
        finally:
            os.close(descriptor)
        if new:
            sync_folder(self.path.parent)
        return PlacedLink(link, offset, len(packed))

    def _free_name(self) -> Path:
        aside, count = self.path.with_name(f"{self.path.name}.damaged"), 1
        while aside.exists():
            count += 1
            aside = self.path.with_name(f"{self.path.name}.damaged-{count}")
        return aside


def chained_cameras(folder: Path) -> list[str]:
    """The cameras that have a chain in a folder, by name."""
    return sorted(path.name.removesuffix(_ENDING) for path in folder.glob(f"*{_ENDING}")) if folder.is_dir() else []


def _next_block(file: BinaryIO, offset: int) -> int:
    """Where the next line after the one at ``offset`` begins that a block may begin with; else the end."""
    file.seek(offset)
    file.readline()
    place = file.tell()
    while (line := file.readline()) and not line.startswith(_START):
        place = file.tell()
    return place
