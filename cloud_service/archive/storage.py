"""Where the archive's files lie: a local folder, or anything that fsspec has a file system for."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from cloud_service.store.segment import BLOCK_BYTES
from icm.atomic_file import write_atomically
from icm.errors import ConfigError, StorageError, storage_error
from icm.folders import make_folder


class ArchiveStorage:
    """Puts whole files below one root.

    Attributes:
        folder: where that is, if it is a folder of this machine.
    """

    def __init__(self, url: str) -> None:
        """Opens the file system that holds the archive.

        Args:
            url: a folder or an fsspec URL such as s3://bucket/prefix.

        Raises:
            ConfigError: there is no file system of that kind, or it does not take the URL.
        """
        self.url = url
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ConfigError(
                f"cannot use archive.url {url!r}: {error}; give a folder, or an fsspec URL whose driver is installed"
            ) from None
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
        whole = self._whole(path)
        try:
            return bytes(self._files.cat_file(whole))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(error, whole) from None
        except Exception as error:  # remote file systems raise what their clients raise
            raise StorageError(f"cannot read {whole}: {error}") from error

    def put(self, path: str, data: bytes) -> int:
        """Writes a whole file, over one of the same path if there is any; readers see it entirely or not at all.

        Args:
            path: relative to the root, with slashes.

        Returns:
            The bytes that the disk gave the file, in whole blocks; elsewhere those of the file.

        Raises:
            StorageFullError: there is no space left.
            StorageError: the file cannot be written.
        """
        whole = self._whole(path)
        try:
            if self.folder is not None:
                write_atomically(Path(whole), data)
                return os.stat(whole).st_blocks * BLOCK_BYTES or len(data)
            else:
                self._files.makedirs(whole.rpartition("/")[0], exist_ok=True)
                self._files.pipe_file(whole, data)
                return len(data)
        except OSError as error:
            raise storage_error(error, whole) from None
        except Exception as error:  # remote file systems raise what their clients raise
            raise StorageError(f"cannot write {whole}: {error}") from error

    def _whole(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"
