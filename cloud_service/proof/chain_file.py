"""One camera's chain on the disk: read from anywhere, and appended to."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from icm.atomic_file import atomic_writer, write_atomically
from icm.errors import ProofError
from icm.folders import make_folder, sync_folder
from icm.proof.chain import BLOCK, Block, Head, Link, read_links
from icm.proof.statements import Pruned

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


class BlockPlace(NamedTuple):
    """A block's number and where it lies in its file, in bytes."""

    block: int
    offset: int
    length: int


class ChainFile:
    """The chain of one camera. Not thread-safe."""

    def __init__(self, folder: Path, camera: str) -> None:
        """Args: folder, of all chains."""
        self.path = folder / f"{camera}{_ENDING}"

    def links(
        self, offset: int = 0, damage: list[str] | None = None, opened: BinaryIO | None = None
    ) -> Iterator[PlacedLink]:
        """The whole blocks from an offset on, unchecked.

        Args:
            opened: the file as ``open`` gave it, to read the same one twice; None: as it is now. A chain that is pruned
                becomes another file.
            damage: what cannot be read is told here, and reading goes on at the next block that can be.

        Raises:
            ProofError: something cannot be read, and nobody asked to be told.
            OSError: the file cannot be read.
        """
        file = opened if opened is not None else self.open()
        with nullcontext() if opened is not None else file:
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

    def open(self) -> BinaryIO:
        """The file for reading; empty where there is none.

        Raises:
            OSError: it cannot be read.
        """
        try:
            return self.path.open("rb")
        except FileNotFoundError:
            return BytesIO()

    def links_from(self, place: BlockPlace) -> Iterator[Link]:
        """A block and all behind it.

        Args:
            place: where it was when somebody looked; where it is not, as the chain was pruned since, it is looked for.

        Raises:
            ProofError: the file is damaged.
            OSError: the file cannot be read.
        """
        with self.open() as file:
            offset = place.offset
            file.seek(offset)
            try:
                found = Block.of(file.readline().removesuffix(b"\n")).number
            except ProofError:
                found = 0
            if found != place.block:
                links = self.links(0, None, file)
                offset = next((each.offset for each in links if each.link.block.number == place.block), self.size())
            yield from (each.link for each in self.links(offset, None, file))

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

    def frames(self, places: Sequence[BlockPlace]) -> list[tuple[Block, Head]]:
        """Blocks without their entries, and their heads.

        Args:
            places: where they were when somebody looked; see ``links_from``.

        Raises:
            ProofError: the file is damaged there.
            OSError: the file cannot be read.
        """
        found = []
        with self.open() as file:
            for place in places:
                file.seek(place.offset)
                lines = file.read(place.length).splitlines()
                try:
                    block, head = Block.of(lines[0]), Head.of(lines[-1])
                except (ProofError, IndexError):
                    break
                if block.number != place.block or head.block != place.block:
                    break
                found.append((block, head))
            if len(found) == len(places):
                return found
            wanted = {place.block for place in places}
            links = (each.link for each in self.links(0, None, file))
            return [(link.block, link.head) for link in links if link.block.number in wanted]

    def drop_entries(self, pruned: Pruned) -> list[PlacedLink]:
        """Writes the chain anew without the entries of blocks; it is on the disk, or as it was, when this returns.

        Returns:
            All blocks as they lie now, without any entries.

        Raises:
            ProofError: the file is damaged.
            OSError: the disk refused.
        """
        found, offset = [], 0
        with atomic_writer(self.path) as out:
            for placed in self.links():
                link = placed.link
                bare = Link(link.block, (), link.head)
                packed = (bare if pruned.drops(link.block.number) else link).pack()
                out.write(packed)
                found.append(PlacedLink(bare, offset, len(packed)))
                offset += len(packed)
        return found

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
