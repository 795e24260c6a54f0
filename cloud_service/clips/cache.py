"""The render cache: pieces of video that were rendered from records, kept while there is room, so that who looks twice
waits once.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cloud_service.store.segment import BLOCK_BYTES
from icm.atomic_file import write_atomically
from icm.errors import storage_error
from icm.folders import make_folder

log = logging.getLogger(__name__)
_NAME = re.compile(r"[0-9a-f]{64}\.piece")
_LEFTOVER = re.compile(r"\..+\.part|clip-.+\.mp4")
"""What a process that was killed leaves behind: pieces and clips that it was writing."""
_DIGEST_BYTES = 32


class RenderCache:
    """Pieces by a key of 64 hex digits, in a folder; the least recently used one goes first. Thread-safe.

    A file is the SHA-256 of a piece and the piece, so that what a disk spoilt is rendered again. Its time of change is
    that of its last use, which a new start goes on with.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """Opens the cache, which is this process's alone, and deletes what was left unfinished and what is too much.

        Args:
            folder: made if it is not there.
            most_bytes: of the disk, that all files may take; 0 to keep nothing.

        Raises:
            StorageError: the folder cannot be used.
        """
        self._folder, self._most_bytes = folder, most_bytes
        self._lock = threading.Lock()
        # By key, the bytes that a file takes; the one that was used last comes last.
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0
        self._clips: set[Path] = set()
        try:
            make_folder(folder)
            for _, name, size in sorted(self._found()):
                self._sizes[name.removesuffix(".piece")] = size
                self._bytes += size
        except OSError as error:
            raise storage_error(error, error.filename or folder) from None
        self.shrink(most_bytes)

    @contextmanager
    def clip(self) -> Iterator[Path]:
        """A file for a clip that is made and sent while the block runs. It counts as what is kept does, which makes
        room for it; what a killed process leaves of it the next start deletes.
        """
        path = self._folder / f"clip-{secrets.token_hex(8)}.mp4"
        with self._lock:
            self._clips.add(path)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
            with self._lock:
                self._clips.discard(path)

    @property
    def disk_bytes(self) -> int:
        """What its files take on the disk, those of clips that are being made among them."""
        with self._lock:
            return self._bytes + self._clip_bytes()

    def taken_bytes(self) -> int:
        """What its files and the clips that are made beside them take on the disk.

        Raises:
            OSError: the disk refused to say.
        """
        clips = (entry for entry in os.scandir(self._folder) if _LEFTOVER.fullmatch(entry.name))
        sizes = 0
        for clip in clips:
            with suppress(FileNotFoundError):
                sizes += clip.stat(follow_symlinks=False).st_blocks * BLOCK_BYTES
        return self._bytes + sizes

    def give(self, most_bytes: int) -> int:
        """Deletes the least recently used pieces until so much of the disk is free again, or none is left.

        Returns:
            The bytes that came free.
        """
        with self._lock:
            before = self._bytes
            self._shrink(max(0, before - most_bytes))
            return before - self._bytes

    def get(self, key: str) -> bytes | None:
        """A piece; None if it is not there, or not as it was put there."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            content = None
        if content is not None:
            digest, piece = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
            if hashlib.sha256(piece).digest() == digest:
                with self._lock:
                    if key in self._sizes:
                        self._sizes.move_to_end(key)
                with suppress(OSError):
                    os.utime(path)
                return piece
            log.warning("%s is damaged: what it held is rendered again", path)
        with self._lock:
            if key in self._sizes:
                self._drop(key)
        return None

    def put(self, key: str, piece: bytes) -> None:
        """Keeps a piece, if it is not larger than all that may be kept. Where the disk refuses, that is logged."""
        path = self._path(key)
        with self._lock:
            if key in self._sizes:
                self._drop(key)
            content = hashlib.sha256(piece).digest() + piece
            most_bytes = self._most_bytes - self._clip_bytes()
            if len(content) > most_bytes:
                return
            self._shrink(most_bytes - len(content))
            try:
                write_atomically(path, content)
                size = os.stat(path).st_blocks * BLOCK_BYTES or len(content)
            except OSError as error:
                log.warning("what was rendered is not kept: %s", storage_error(error, path))
                return
            self._sizes[key] = size
            self._bytes += size
            # Blocks are larger than what is in them.
            self._shrink(most_bytes)

    def shrink(self, most_bytes: int) -> None:
        """Deletes the least recently used pieces until the rest takes at most so many bytes of the disk."""
        with self._lock:
            self._shrink(most_bytes)

    def make_room(self) -> None:
        """Deletes the least recently used pieces until the rest, with the clips that are there, is within the bound."""
        with self._lock:
            self._shrink(self._most_bytes - self._clip_bytes())

    def _clip_bytes(self) -> int:
        taken = 0
        for path in self._clips:
            # It is made a moment after it is counted on.
            with suppress(OSError):
                taken += path.stat().st_blocks * BLOCK_BYTES
        return taken

    def _shrink(self, most_bytes: int) -> None:
        while self._sizes and self._bytes > most_bytes:
            self._drop(next(iter(self._sizes)))

    def _drop(self, key: str) -> None:
        self._bytes -= self._sizes.pop(key)
        with suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.piece"

    def _found(self) -> list[tuple[int, str, int]]:
        """Time of last use, name and size of each piece; leftovers are deleted."""
        found = []
        for entry in os.scandir(self._folder):
            if entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                if _NAME.fullmatch(entry.name):
                    found.append((status.st_mtime_ns, entry.name, status.st_blocks * BLOCK_BYTES or status.st_size))
                elif _LEFTOVER.fullmatch(entry.name):
                    os.unlink(entry.path)
        return found
