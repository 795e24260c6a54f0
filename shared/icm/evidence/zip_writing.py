"""Evidence files as a stream: a zip whose files are stored and not deflated, written as its parts come.

All that could differ between two zips of the same files is fixed, so a reader finds every byte that was changed.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

from icm.errors import EvidenceError
from icm.evidence.layout import MOST_FILES, Role
from icm.evidence.manifest import FileEntry
from icm.evidence.zip_reading import DATE, PERMISSIONS, UNIX, VERSION, is_safe_path

_LARGE = 1 << 30
"""Files that may be larger than this are entered as such from the start, as zip has two forms."""


class CaseZip:
    """An evidence file in the making. What ``add`` and ``finish`` give are its bytes, in their order.

    Attributes:
        files: what was added, in that order.
    """

    def __init__(self) -> None:
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_STORED)
        self._paths: set[str] = set()
        self.files: list[FileEntry] = []

    def add(self, path: str, role: Role | None, chunks: Iterable[bytes], most: int = 0) -> Iterator[bytes]:
        """Adds a file.

        Args:
            role: None for what the manifest does not list.
            chunks: its content; what they raise ends the zip.
            most: bytes that it will not exceed, where it may be large.

        Raises:
            EvidenceError: there can be no such file, or no further one.
        """
        if not is_safe_path(path) or path in self._paths or len(self._paths) >= MOST_FILES:
            raise EvidenceError(f"an evidence file cannot hold {path[:200]!r} as file {len(self._paths) + 1}")
        self._paths.add(path)
        info = zipfile.ZipInfo(path, DATE)
        info.create_system, info.create_version, info.external_attr = UNIX, VERSION, PERMISSIONS
        digest, size = hashlib.sha256(), 0
        with self._zip.open(info, "w", force_zip64=most > _LARGE) as file:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
                yield from self._sink.taken()
        yield from self._sink.taken()
        if role is not None:
            self.files.append(FileEntry(path=path, role=role, sha256=digest.hexdigest(), size=size))

    def finish(self) -> Iterator[bytes]:
        """The end of the zip."""
        self._zip.close()
        yield from self._sink.taken()


class _Sink(io.RawIOBase):
    """Takes what is written until somebody fetches it; it cannot be gone back in."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def taken(self) -> Iterator[bytes]:
        parts, self._parts = self._parts, []
        if parts:
            yield b"".join(parts)
