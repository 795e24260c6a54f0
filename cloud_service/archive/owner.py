"""Whom an archive belongs to: one record store. Another's videos of a camera of the same name would replace its own.

A folder is locked besides. Elsewhere nothing can be, so two clouds that meet for the very first time at once may both
take it for theirs; the next start of one of them tells.

A folder without a name gets it, unless it holds nothing at all while the database knows of videos: then its disk is not
mounted, as a rule.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from cloud_service.archive.storage import ArchiveStorage
from icm.errors import StorageError, StorageFullError, storage_error
from icm.service.owner_lock import OwnerLock

log = logging.getLogger(__name__)
LOCK_NAME = "archive.lock"
ID_NAME = "archive.id"


class ArchiveOwner:
    """Holds an archive for a record store. Thread-safe."""

    def __init__(self, storage: ArchiveStorage, store: str, knows_videos: Callable[[], bool] = lambda: False) -> None:
        """Takes the archive. One that cannot be reached now keeps no cloud from starting: ``check`` asks again.

        Args:
            store: the record store's name.
            knows_videos: returns whether the archive must hold something.

        Raises:
            StorageError: it is another's.
        """
        self._storage, self._store, self._knows_videos = storage, store, knows_videos
        self._guard = threading.Lock()
        self._lock: OwnerLock | None = None
        self._taken = False
        try:
            storage.prepare()
            self._check_there()
        except StorageError as error:
            log.warning("%s; records are taken, and their videos wait until then", error)
            return
        try:
            self._take()
        except StorageFullError as error:
            log.warning("%s; records are taken, and their videos wait until then", error)
        except StorageError:
            self.release()
            raise

    def check(self) -> None:
        """Checks that this service still owns the archive.

        Who tidies a folder up by age may delete its name with the rest; it is given again.

        Raises:
            StorageError: the archive is another's by now, or cannot be reached.
        """
        with self._guard:
            if not self._taken or self._storage.folder is not None:
                self._take()

    def confirm(self) -> None:
        """As ``check``, but a bucket's name is read again too: for whoever deletes.

        Raises:
            StorageError: as of ``check``.
        """
        with self._guard:
            self._take()

    def release(self) -> None:
        """Lets others take what can be locked."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _take(self) -> None:
        folder, url = self._storage.folder, self._storage.url
        is_named = self._check_there()
        if folder is not None and self._lock is None:
            self._lock = OwnerLock(folder / LOCK_NAME, f"the archive {url}", "icm-cloud", StorageError)
        if not is_named:
            self._storage.put(ID_NAME, f"{self._store}\n".encode())
        found = (self._storage.get(ID_NAME) or b"").decode(errors="replace").strip()
        if found != self._store:
            raise StorageError(
                f"the archive {url} belongs to record store {found!r}, and this cloud's is {self._store}: name another"
                f" one as archive.url, or delete {ID_NAME} there if that store is gone for good"
            )
        self._taken = True

    def _check_there(self) -> bool:
        """Checks that the archive can be read, and is not the empty folder below which its disk should be.

        Returns:
            Whether it has a name.

        Raises:
            StorageError: it is not there.
        """
        folder = self._storage.folder
        if self._storage.get(ID_NAME) is not None:
            return True
        try:
            is_empty = folder is not None and not (folder.exists() and any(path.is_dir() for path in folder.iterdir()))
        except OSError as error:
            raise storage_error(error, folder or self._storage.url) from None
        if is_empty and self._knows_videos():
            raise StorageError(
                f"the archive {self._storage.url} is empty, and the database knows of videos there: mount its disk, or"
                f" write {self._store} into {ID_NAME} there if it was emptied on purpose"
            )
        return False
