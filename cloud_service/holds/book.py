"""The holds of one store, in a file of its own: a database that is lost must not let go what is held."""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from icm.atomic_file import write_atomically
from icm.camera_name import check_camera_name
from icm.errors import ConfigError, NotFoundError, StorageError, storage_error

log = logging.getLogger(__name__)
FILE_NAME = "holds.json"
MOST_HOLDS = 10_000
_MOST_TEXT = 500
_MOST_CAMERAS = 1000
_MOST_BYTES = 1 << 60
_RELEASED_KEPT = 1000
"""Of released holds, which stay in the file for whoever asks who let go of what."""


@dataclass(frozen=True)
class Hold:
    """A stretch of time of some cameras; times in microseconds since 1970, UTC.

    Attributes:
        id: its name, made when it was added.
        cameras: whose; empty for all, those that come later included.
        from_us: where it begins.
        to_us: where it ends, not included.
        owner: whose hold it is.
        reason: why, for a person.
        created_us: when it was added.
        expires_us: when it ends by itself; 0 if never.
        within_max_age: whether ``max_age`` deletes in it all the same, as where a law demands it.
        released_us: when it was released; 0 while it was not.
        released_by: who released it.
        added_by: whose certificate it was added with; empty where none was shown.
        max_bytes: its budget, of the disk; 0 for none.
        full_us: when the budget was found to be used up; 0 while it was not.
        ends: from then on, by camera the first segment that is not kept any more; of other cameras none is.
    """

    id: str
    cameras: tuple[str, ...]
    from_us: int
    to_us: int
    owner: str
    reason: str
    created_us: int
    expires_us: int = 0
    within_max_age: bool = False
    released_us: int = 0
    released_by: str = ""
    added_by: str = ""
    max_bytes: int = 0
    full_us: int = 0
    ends: tuple[tuple[str, int], ...] = ()

    def is_active(self, now_us: int | None) -> bool:
        """Whether it keeps anything.

        Args:
            now_us: the time; None where none can be trusted, so that nothing expires.
        """
        expired = self.expires_us and now_us is not None and self.expires_us <= now_us
        return not self.released_us and not expired

    def covers(self, camera: str, first_us: int, last_us: int) -> bool:
        """Whether a stretch of a camera, both ends included, reaches into it."""
        return (not self.cameras or camera in self.cameras) and first_us < self.to_us and last_us >= self.from_us

    def keeps(self, camera: str, number: int, first_us: int, last_us: int) -> bool:
        """Whether it keeps a segment of a camera, by its number and time, both ends included."""
        within = not self.full_us or number < dict(self.ends).get(camera, 0)
        return within and self.covers(camera, first_us, last_us)


class HoldBook:
    """All holds of a store. Thread-safe; each change is on the disk before it counts.

    Attributes:
        version: counts the changes.
    """

    def __init__(self, folder: Path, check_owned: Callable[[], None] = lambda: None) -> None:
        """Reads the holds.

        Args:
            folder: the store's.
            check_owned: asked before anything is written; raises a StorageError if the store is this process's no more.

        Raises:
            StorageError: the file is damaged, or cannot be read.
        """
        self._path, self._check_owned = folder / FILE_NAME, check_owned
        self._lock = threading.Lock()
        self._holds = _load(self._path)
        self.version = 0

    def all(self) -> list[Hold]:
        """All holds, the released ones that are still known included, the newest last."""
        with self._lock:
            return list(self._holds.values())

    def active(self, now_us: int | None) -> list[Hold]:
        """Those that keep something; see ``Hold.is_active``."""
        return [hold for hold in self.all() if hold.is_active(now_us)]

    def add(self, hold: Hold) -> Hold:
        """Adds a hold under a new name.

        Args:
            hold: whose name does not count.

        Returns:
            It, with its name.

        Raises:
            ConfigError: it cannot be.
            StorageError: the disk refused; there is no such hold.
        """
        check_hold(hold)
        hold = replace(hold, id=f"h-{secrets.token_hex(4)}", released_us=0, released_by="", full_us=0, ends=())
        with self._lock:
            if sum(not each.released_us for each in self._holds.values()) >= MOST_HOLDS:
                raise ConfigError(f"there are {MOST_HOLDS} holds: release some that are not needed any more")
            self._write({**self._holds, hold.id: hold})
        log.info("hold %s of %s was added: %s", hold.id, hold.owner, hold.reason)
        return hold

    def release(self, name: str, by: str, now_us: int) -> Hold:
        """Ends a hold. What a rule demands goes from then on.

        Args:
            name: the hold's.
            by: who does.
            now_us: when, microseconds since 1970.

        Raises:
            NotFoundError: there is no such hold, or it is released.
            StorageError: the disk refused; the hold holds.
        """
        with self._lock:
            hold = self._holds.get(name)
            if hold is None or hold.released_us:
                raise NotFoundError(f"there is no hold {name[:80]!r} to release; list them")
            hold = replace(hold, released_us=now_us, released_by=by)
            holds = {**self._holds, name: hold}
            ended = [each.id for each in holds.values() if each.released_us]
            for old in ended[: max(0, len(ended) - _RELEASED_KEPT)]:
                del holds[old]
            self._write(holds)
        log.info("hold %s of %s was released by %s", hold.id, hold.owner, by)
        return hold

    def fill(self, name: str, ends: Mapping[str, int], now_us: int) -> None:
        """Notes that a hold's budget is used up.

        Args:
            name: the hold's; one that was released meanwhile is left as it is.
            ends: as of ``Hold``.
            now_us: when, microseconds since 1970.

        Raises:
            StorageError: the disk refused; the hold goes on.
        """
        with self._lock:
            hold = self._holds.get(name)
            if hold is not None and not hold.released_us:
                full = replace(hold, full_us=now_us, ends=tuple(sorted(ends.items())))
                self._write({**self._holds, name: full})

    def _write(self, holds: dict[str, Hold]) -> None:
        self._check_owned()
        try:
            content = json.dumps({"holds": [asdict(hold) for hold in holds.values()]}, indent=1)
            write_atomically(self._path, content + "\n")
        except OSError as error:
            raise storage_error(error, self._path) from None
        self._holds = holds
        self.version += 1


def check_hold(hold: Hold) -> None:
    """Checks what a person asks to hold.

    Raises:
        ConfigError: it cannot be.
    """
    for camera in hold.cameras:
        check_camera_name(camera)
    if len(hold.cameras) > _MOST_CAMERAS:
        raise ConfigError(f"a hold names {len(hold.cameras)} cameras: name {_MOST_CAMERAS} at most, or none for all")
    if not 0 <= hold.from_us < hold.to_us:
        raise ConfigError("a hold must end after it begins, and begin in 1970 or later")
    for name, text in (("an owner", hold.owner), ("a reason", hold.reason)):
        if not text.strip() or len(text) > _MOST_TEXT:
            raise ConfigError(f"a hold needs {name}, of {_MOST_TEXT} characters at most")
    if not 0 <= hold.max_bytes <= _MOST_BYTES:
        raise ConfigError(f"a hold's budget must be {_MOST_BYTES} bytes at most, or 0 for none")
    if hold.expires_us and hold.expires_us <= hold.created_us:
        raise ConfigError("a hold must expire in the future, or never")


def _load(path: Path) -> dict[str, Hold]:
    try:
        said: Sequence[dict[str, Any]] = json.loads(path.read_bytes())["holds"]
        holds = [
            Hold(**{**each, "cameras": tuple(each["cameras"]), "ends": tuple(map(tuple, each.get("ends", ())))})
            for each in said
        ]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise storage_error(error, path) from None
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{path} is damaged ({error}): it says what must not be deleted. Restore it from a copy, or delete it to"
            " go on without any hold"
        ) from None
    return {hold.id: hold for hold in holds}
