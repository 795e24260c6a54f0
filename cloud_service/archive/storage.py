"""Where the archive's files lie: a local folder, an S3 bucket, or anything else that fsspec has a file system for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import fsspec  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from cloud_service.store.segment import BLOCK_BYTES
from icm.atomic_file import write_atomically
from icm.errors import ConfigError, StorageError, storage_error
from icm.folders import make_folder, sync_folder

_S3 = {"s3", "s3a"}
_S3_OPTIONS: dict[str, Any] = {
    # Whoever writes or reads comes back by itself, and holds up others while it waits.
    "config_kwargs": {"connect_timeout": 5, "read_timeout": 15, "retries": {"total_max_attempts": 2}},
    # What was listed once is not believed later.
    "use_listings_cache": False,
}

_READ_ONLY = frozenset(
    ("http", "https", "data", "git", "github", "gist", "libarchive", "tar", "zip", "reference", "jupyter", "jlab")
)
"""Kinds of fsspec's file systems to which files cannot be put one by one, or not at all."""


class StoredFile(NamedTuple):
    """A file of the archive.

    Attributes:
        name: of it, without its folder.
        disk_bytes: what the disk gave it, as of ``ArchiveStorage.put``.
        changed_us: when it was written last, microseconds since 1970.
    """

    name: str
    disk_bytes: int
    changed_us: int


class ArchiveStorage:
    """Puts whole files below one root, and reads them or parts of them. Thread-safe.

    Attributes:
        folder: where that is, if it is a folder of this machine.
    """

    def __init__(self, url: str) -> None:
        """Opens the file system that holds the archive.

        Args:
            url: a folder or an fsspec URL such as s3://bucket/prefix.

        Raises:
            ConfigError: there is no file system of that kind, it takes no files, or it does not take the URL.
        """
        self.url = url
        self._is_s3 = url.partition("://")[0] in _S3
        # Of a chain such as simplecache::http://host every link counts.
        kinds = {fsspec.utils.get_protocol(part) for part in (url, *url.split("::"))}
        if unfit := kinds & _READ_ONLY:
            raise ConfigError(
                f"cannot use archive.url {url!r}: {min(unfit)} takes no files; give a folder, or the URL of a file"
                " system that does, such as s3://bucket/prefix"
            )
        try:
            self._files, self._root = fsspec.core.url_to_fs(url, **(_S3_OPTIONS if self._is_s3 else {}))
        except (ValueError, ImportError) as error:
            raise ConfigError(
                f"cannot use archive.url {url!r}: {error}; give a folder, or an fsspec URL whose driver is installed"
                " (for s3:// that is pip install 'icm-bridge[s3]')"
            ) from None
        if self._is_s3:
            self._files.retries = 1
        self.folder = Path(self._root) if isinstance(self._files, LocalFileSystem) else None

    def prepare(self) -> None:
        """Makes the folder, if it is one.

        Raises:
            StorageError: that cannot be, or it cannot be written.
        """
        if self.folder is None:
            return
        try:
            make_folder(self.folder)
        except OSError as error:
            raise storage_error(error, self.folder) from None
        if not os.access(self.folder, os.R_OK | os.W_OK | os.X_OK):
            raise StorageError(f"cannot write to {self.folder}: check the folder's permissions and the disk")

    def get(self, path: str) -> bytes | None:
        """A file's content; None if there is none.

        Raises:
            StorageError: it cannot be read.
        """
        with self._answers(path):
            try:
                return bytes(self._files.cat_file(self._whole(path)))
            except FileNotFoundError:
                return None

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Bytes of a file from an offset on.

        Raises:
            StorageError: the file is gone or shorter, or cannot be read.
        """
        whole = self._whole(path)
        with self._answers(path):
            try:
                data = bytes(self._files.cat_file(whole, start=offset, end=offset + length))
            except FileNotFoundError:
                raise StorageError(f"{whole} is gone") from None
        if len(data) != length:
            raise StorageError(f"{whole} is cut off: it has {len(data)} of {length} bytes from byte {offset} on")
        return data

    def folders(self, path: str) -> list[str]:
        """The names of the folders in a folder, in order; none where it is not there.

        Raises:
            StorageError: it cannot be read.
        """
        return sorted(name for name, found in self._list(path) if found is None)

    def files(self, path: str) -> list[StoredFile]:
        """The files in a folder; none where it is not there, or where nothing says when they were written.

        Raises:
            StorageError: it cannot be read.
        """
        return [found for _, found in self._list(path) if found is not None]

    def _list(self, path: str) -> Iterator[tuple[str, StoredFile | None]]:
        """Each name in a folder, with the file of it, or None for a folder."""
        whole = self._whole(path).rstrip("/")
        with self._answers(path), suppress(FileNotFoundError):
            if self.folder is not None:
                for entry in os.scandir(whole):
                    if entry.is_dir(follow_symlinks=False):
                        yield entry.name, None
                    elif entry.is_file(follow_symlinks=False):
                        of = entry.stat(follow_symlinks=False)
                        size = of.st_blocks * BLOCK_BYTES or of.st_size
                        yield entry.name, StoredFile(entry.name, size, of.st_mtime_ns // 1000)
                return
            for found in self._files.ls(whole, detail=True):
                name = str(found["name"]).rstrip("/").rpartition("/")[2]
                changed = found.get("LastModified") or found.get("created")
                if found["type"] == "directory":
                    yield name, None
                elif isinstance(changed, datetime):
                    yield name, StoredFile(name, int(found["size"]), round(changed.timestamp() * 1e6))

    def put(self, path: str, data: bytes) -> int:
        """Writes a whole file, over one of the same path if there is any; readers see it entirely or not at all.

        Args:
            path: relative to the root, with slashes.
            data: its content.

        Returns:
            The bytes that the disk gave the file, in whole blocks; elsewhere those of the file.

        Raises:
            StorageFullError: there is no space left.
            StorageError: the file cannot be written.
        """
        whole = self._whole(path)
        with self._answers(path):
            if self.folder is not None:
                write_atomically(Path(whole), data)
                return os.stat(whole).st_blocks * BLOCK_BYTES or len(data)
            if not self._is_s3:  # S3 has no folders: only a bucket would be made
                self._files.makedirs(whole.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(whole, data)
            return len(data)

    def delete(self, paths: Sequence[str]) -> None:
        """Deletes files, of which some may be gone already, and the folders by day and hour that this leaves empty. It
        is on the disk when this returns.

        Raises:
            StorageError: a file cannot be deleted; others may have been.
        """
        if self.folder is not None:
            for path in paths:
                with self._answers(path):
                    (self.folder / path).unlink(missing_ok=True)
            self._tidy({(self.folder / path).parent for path in paths})
        elif self._is_s3:
            # A request for each thousand.
            with self._answers(paths[0] if paths else ""):
                self._files.rm([self._whole(path) for path in paths])
        else:
            for path in paths:
                with self._answers(path), suppress(FileNotFoundError):
                    self._files.rm_file(self._whole(path))

    def _tidy(self, folders: set[Path]) -> None:
        for folder in folders:
            try:
                sync_folder(folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise storage_error(error, folder) from None
            # One that has files stays, and so does the camera's own.
            with suppress(OSError):
                if folder.parent.parent.parent == self.folder:
                    folder.rmdir()
                    folder.parent.rmdir()

    @contextmanager
    def _answers(self, path: str) -> Iterator[None]:
        """Replaces what the file system says.

        Raises:
            StorageError: in its place.
        """
        try:
            yield
        except StorageError:
            raise
        except OSError as error:
            if self.folder is not None:
                raise storage_error(error, self._whole(path)) from None
            raise self._refusal(path, error) from None
        except Exception as error:  # remote file systems raise what their clients raise
            raise self._refusal(path, error) from error

    def _refusal(self, path: str, error: Exception) -> StorageError:
        reason = getattr(error, "strerror", None) or error
        return StorageError(f"cannot use {self._whole(path)}: {reason}; check archive.url, and what it may do there")

    def _whole(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"
