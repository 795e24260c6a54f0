"""Verifications, one after the other; kept in a folder of the store, as a database that is lost must not lose them."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cloud_service.verification.child import Place, order_text
from cloud_service.verification.record import State, Verification, new_id, report_of
from icm.atomic_file import write_atomically
from icm.errors import BusyError, ConfigError, IcmError, NotFoundError, StorageError, storage_error
from icm.folders import make_folder
from icm.service.clock import Clock
from icm.service.command_line import STOPS

log = logging.getLogger(__name__)
FOLDER = "verifications"
MOST = 100
"""Verifications that are kept; the oldest that have ended go."""
_MOST_WAITING = 8
_RETRY_SECONDS = 30.0


class Verifications:
    """All verifications of a store, whose process this is. Thread-safe; one thread has them made, by a child process:
    chains are long, and a thread of the service would share Python's lock with the ingest."""

    def __init__(self, place: Place, clock: Clock) -> None:
        """Takes up what an earlier process left.

        Args:
            place: the store.
            clock: for when they begin and end.

        Raises:
            StorageError: their folder cannot be used.
        """
        self._place, self._clock, self._folder = place, clock, place.store / FOLDER
        self._known: dict[str, Verification] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._child: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="verification", daemon=True)
        try:
            make_folder(self._folder)
            for path in sorted(self._folder.glob("*.json")):
                self._load(path)
        except OSError as error:
            raise storage_error(error, self._folder) from None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Lets go of the one that runs, which is told as failed after the next start."""
        with self._changed:
            self._stopping = True
            if self._child is not None:
                self._child.kill()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def all(self) -> list[Verification]:
        """The newest first."""
        with self._changed:
            return list(reversed(self._known.values()))

    def add(
        self,
        *,
        cameras: Sequence[str],
        deep: bool,
        from_us: int | None,
        to_us: int | None,
        witnesses: Sequence[str],
        by: str,
    ) -> Verification:
        """Has cameras verified; see ``Verification``.

        Raises:
            BusyError: too many wait.
            StorageError: the disk refused.
        """
        with self._changed:
            waiting = sum(each.is_open for each in self._known.values())
            if waiting >= _MOST_WAITING:
                raise BusyError(f"{waiting} verifications wait already: come back when some are done", _RETRY_SECONDS)
            added = Verification(
                new_id(), tuple(cameras), deep, from_us, to_us, tuple(witnesses), by, self._clock.now_us()
            )
            self._keep(added)
            for old in [each for each in self._known.values() if not each.is_open][: max(0, len(self._known) - MOST)]:
                self._path(old).unlink(missing_ok=True)
                del self._known[old.id]
            self._changed.notify_all()
        log.info("verification %s of %d cameras, asked for by %s", added.id, len(added.cameras), by)
        return added

    def cancel(self, name: str) -> Verification:
        """Ends one that waits or runs.

        Raises:
            NotFoundError: there is none of this name.
            ConfigError: it has ended.
            StorageError: the disk refused.
        """
        with self._changed:
            found = self._known.get(name)
            if found is None:
                raise NotFoundError(f"there is no verification {name[:80]!r}")
            if not found.is_open:
                raise ConfigError(f"verification {name} is {found.state} already")
            cancelled = replace(found, state=State.CANCELLED, ended_us=self._clock.now_us())
            self._keep(cancelled)
            if found.state is State.RUNNING and self._child is not None:
                self._child.kill()
        return cancelled

    def _run(self) -> None:
        while (name := self._next()) is not None:
            try:
                self._make(name)
            except StorageError as error:
                log.error("verification %s: %s", name, error)
                with self._changed:
                    failed = replace(self._known[name], state=State.FAILED, problem=str(error))
                    self._known[name] = replace(failed, ended_us=self._clock.now_us())

    def _next(self) -> str | None:
        """The one that waits longest, running from now on; None when the service stops."""
        with self._changed:
            while not self._stopping:
                for each in self._known.values():
                    if each.state is State.WAITING:
                        self._known[each.id] = replace(each, state=State.RUNNING)
                        return each.id
                self._changed.wait()
        return None

    def _make(self, name: str) -> None:
        with self._changed:
            order = self._known[name]
            if self._stopping or not order.is_open:
                return
            self._child = child = _started()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            with suppress(BrokenPipeError), child.stdin:
                child.stdin.write(order_text(self._place, order))
            for line in child.stdout:
                with suppress(ValueError), self._changed:
                    self._take(name, json.loads(line))
        finally:
            child.kill()
            status = child.wait()
            child.stdout.close()
            with self._changed:
                self._child = None
        with self._changed:
            left = self._known[name]
            if left.is_open and not self._stopping:
                problem = f"the process that verified ended with status {status}; the cloud's log has what it said"
                self._keep(replace(left, state=State.FAILED, problem=problem, ended_us=self._clock.now_us()))

    def _take(self, name: str, told: Mapping[str, Any]) -> None:
        """Notes what the process tells."""
        now = self._known[name]
        if not now.is_open:
            return
        changes: dict[str, Any] = {field: int(told[field]) for field in ("segments", "expected") if field in told}
        if "report" in told:
            changes["reports"] = (*now.reports, report_of(told["report"]))
        now = replace(now, **changes)
        self._known[name] = now
        if "done" in told:
            self._keep(replace(now, state=State.DONE, ended_us=self._clock.now_us()))
            log.info("verification %s is done: %s", name, "all holds" if all_holds(now) else "BROKEN")
        elif "problem" in told:
            failed = replace(now, state=State.FAILED, problem=str(told["problem"]), ended_us=self._clock.now_us())
            self._keep(failed)

    def _keep(self, verification: Verification) -> None:
        path = self._path(verification)
        try:
            write_atomically(path, verification.to_text(), private=True)
        except OSError as error:
            raise storage_error(error, path) from None
        self._known[verification.id] = verification

    def _path(self, verification: Verification) -> Path:
        return self._folder / f"{verification.created_us:020}-{verification.id}.json"

    def _load(self, path: Path) -> None:
        try:
            found = Verification.from_text(path.read_bytes())
        except IcmError as error:
            log.warning("%s: %s", path, error)
            return
        if found.is_open:
            problem = "the cloud ended before it was done: ask for it again"
            found = replace(found, state=State.FAILED, problem=problem, ended_us=self._clock.now_us())
        self._known[found.id] = found


def all_holds(verification: Verification) -> bool:
    """Whether nothing was found that does not hold."""
    return all(report.holds for report in verification.reports)


def _started() -> subprocess.Popen[str]:
    """The process that verifies.

    Raises:
        StorageError: the system refuses.
    """
    command = [sys.executable, "-P", "-m", "cloud_service.verification.child"]
    # It is this process that ends it: stops of a whole group must not. What a thread blocks, a process that it starts
    # blocks from its first moment on.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    except OSError as error:
        raise StorageError(f"cannot start a process to verify with: {error.strerror}") from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
