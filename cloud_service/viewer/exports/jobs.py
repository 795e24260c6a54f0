"""Makes exports, one after the other, and keeps them until they expire; in a folder, to outlive a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from cloud_service.viewer.exports.checking import check_case
from cloud_service.viewer.exports.record import Export, State, Verdict, new_id
from icm.atomic_file import write_atomically
from icm.errors import BusyError, ConfigError, IcmError, NotFoundError, StorageError, storage_error
from icm.folders import make_folder
from icm.service.clock import Clock

log = logging.getLogger(__name__)
MOST = 100
"""Exports that are kept."""
KEPT_US = 7 * 24 * 3600 * 1_000_000
"""After so long an export is deleted."""
_MOST_WAITING = 8
_AGAIN_SECONDS = 5.0
"""After so long the cloud is asked again that was busy."""
_LOOK_SECONDS = 600.0


class CaseSource(Protocol):
    """The cloud's client, as far as exports go."""

    async def export(
        self,
        output: Path | str,
        cameras: str | Sequence[str],
        start: datetime,
        end: datetime,
        *,
        case: str,
        by: str,
        progress: Callable[[int, int], None] | None = None,
    ) -> int: ...


class ExportJobs:
    """All exports of a viewer. For use on one event loop."""

    def __init__(self, *, folder: Path, cloud: CaseSource, bundles: Sequence[Path], clock: Clock) -> None:
        """Takes up what an earlier viewer left.

        Args:
            folder: for files of exports, this viewer's alone.
            cloud: makes them.
            bundles: folders of the codecs that checks decode with.
            clock: for when they end.

        Raises:
            StorageError: the folder cannot be used.
        """
        self._folder, self._cloud, self._bundles, self._clock = folder, cloud, bundles, clock
        self._exports: dict[str, Export] = {}
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        try:
            make_folder(folder)
            for path in sorted(folder.glob("*.json")):
                self._load(path)
            known = {self.file(each).name for each in self._exports.values() if each.state is State.DONE}
            for path in folder.glob("*.zip*"):
                if path.name not in known:
                    path.unlink()
        except OSError as error:
            raise storage_error(error, folder) from None

    def start(self) -> None:
        """Makes what waits, from now on."""
        self._begin(self._work())
        self._begin(self._expire())

    async def close(self) -> None:
        """Ends; what was being made is told as failed after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def all(self) -> list[Export]:
        """The newest first."""
        return sorted(self._exports.values(), key=lambda each: -each.created_us)

    def get(self, name: str) -> Export:
        """An export.

        Raises:
            NotFoundError: there is none of this name.
        """
        if (found := self._exports.get(name)) is None:
            raise NotFoundError("there is no such export: it may have expired")
        return found

    def file(self, export: Export) -> Path:
        """Where its file is, or will be."""
        return self._folder / f"{export.id}.zip"

    def expires_us(self, export: Export) -> int:
        """When it is deleted, microseconds since 1970."""
        return export.created_us + KEPT_US

    async def add(self, *, owner: str, cameras: Sequence[str], from_us: int, to_us: int, case: str) -> Export:
        """Has an export made.

        Raises:
            BusyError: too many wait.
            ConfigError: too many are kept.
            StorageError: the disk refused.
        """
        waiting = sum(each.state in (State.WAITING, State.RUNNING) for each in self._exports.values())
        if waiting >= _MOST_WAITING:
            raise BusyError(f"{waiting} exports wait already: come back when some are done", 30)
        if len(self._exports) >= MOST:
            raise ConfigError(f"{MOST} exports are kept, and there can be no more: delete some first")
        export = Export(new_id(), owner, tuple(cameras), from_us, to_us, case, self._clock.now_us())
        await self._keep(export)
        self._queue.put_nowait(export.id)
        return export

    async def remove(self, name: str) -> None:
        """Deletes an export.

        Raises:
            ConfigError: it is being made.
            NotFoundError: there is none of this name.
            StorageError: the disk refused.
        """
        export = self.get(name)
        if not export.ended:
            raise ConfigError("this export is being made or checked: wait until that is done")
        await asyncio.to_thread(self._delete, export)
        del self._exports[name]

    async def check(self, name: str) -> None:
        """Begins to check a file, as ``icm verify`` does; what comes of it is in the export.

        Raises:
            BusyError: another one is being checked.
            ConfigError: there is no file to check.
            NotFoundError: there is none of this name.
        """
        export = self.get(name)
        if export.state is not State.DONE:
            raise ConfigError("there is nothing to check yet: this export is not done")
        if any(each.verdict is Verdict.RUNNING for each in self._exports.values()):
            raise BusyError("another export is being checked: come back when that is done", 30)
        self._exports[name] = replace(export, verdict=Verdict.RUNNING, told="")
        self._begin(self._check(name))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        while True:
            name = await self._queue.get()
            if name in self._exports:
                await self._make(name)

    async def _make(self, name: str) -> None:
        export = self._exports[name] = replace(self._exports[name], state=State.RUNNING)
        start, end = (datetime.fromtimestamp(us / 1e6, UTC) for us in (export.from_us, export.to_us))

        def progress(written: int, expected: int) -> None:
            self._exports[name] = replace(self._exports[name], size=written, expected=expected)

        while True:
            try:
                size = await self._cloud.export(
                    self.file(export), export.cameras, start, end, case=export.case, by=export.owner, progress=progress
                )
                done = replace(self._exports[name], state=State.DONE, size=size, expected=size)
            except BusyError:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            except IcmError as error:
                done = replace(self._exports[name], state=State.FAILED, problem=str(error))
            break
        try:
            await self._keep(done)
        except StorageError as error:
            log.error("export %s: %s", name, error)
            self._exports[name] = replace(done, state=State.FAILED, problem=str(error))

    async def _check(self, name: str) -> None:
        verdict, told = await check_case(self.file(self._exports[name]), self._bundles)
        try:
            await self._keep(replace(self._exports[name], verdict=verdict, told=told))
        except StorageError as error:
            log.error("export %s: %s", name, error)
            self._exports[name] = replace(self._exports[name], verdict=verdict, told=told)

    async def _expire(self) -> None:
        while True:
            now = self._clock.now_us()
            for export in self.all():
                if export.ended and self.expires_us(export) <= now:
                    with suppress(IcmError):
                        await self.remove(export.id)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _keep(self, export: Export) -> None:
        path = self._folder / f"{export.id}.json"
        try:
            await asyncio.to_thread(write_atomically, path, export.to_text(), private=True)
        except OSError as error:
            raise storage_error(error, path) from None
        self._exports[export.id] = export

    def _load(self, path: Path) -> None:
        try:
            export = Export.from_text(path.read_bytes())
        except IcmError as error:
            log.warning("%s: %s", path, error)
            return
        if export.state in (State.WAITING, State.RUNNING):
            export = replace(export, state=State.FAILED, problem="the viewer ended while it was made: ask for it again")
        elif export.state is State.DONE and not self.file(export).exists():
            export = replace(export, state=State.FAILED, problem="its file is gone")
        if export.verdict is Verdict.RUNNING:
            export = replace(export, verdict=Verdict.NONE)
        self._exports[export.id] = export

    def _delete(self, export: Export) -> None:
        path = self.file(export)
        try:
            path.unlink(missing_ok=True)
            (self._folder / f"{export.id}.json").unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, path) from None
