"""The render cache: pieces of video that were rendered from records, kept while there is room, so that who looks twice
waits once.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
from collections import OrderedDict
from contextlib import suppress
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
        try:
            make_folder(folder)
            for _, name, size in sorted(self._found()):
                self._sizes[name.removesuffix(".piece")] = size
                self._bytes += size
        except OSError as error:
            raise storage_error(error, error.filename or folder) from None
        self.shrink(most_bytes)

    @property
    def folder(self) -> Path:
        """Where it lies. Clips may be made there as ``clip-<name>.mp4``; a start deletes what is left of them."""
        return self._folder

    @property
    def disk_bytes(self) -> int:
        """What its files take on the disk."""
        return self._bytes

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
            if len(content) > self._most_bytes:
                return
            self._shrink(self._most_bytes - len(content))
            try:
                write_atomically(path, content)
                size = os.stat(path).st_blocks * BLOCK_BYTES or len(content)
            except OSError as error:
                log.warning("what was rendered is not kept: %s", storage_error(error, path))
                return
            self._sizes[key] = size
            self._bytes += size
            # Blocks are larger than what is in them.
            self._shrink(self._most_bytes)

    def shrink(self, most_bytes: int) -> None:
        """Deletes the least recently used pieces until the rest takes at most so many bytes of the disk."""
        with self._lock:
            self._shrink(most_bytes)

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
