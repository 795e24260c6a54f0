"""A PostgreSQL server for a while, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from icm.errors import IcmError

_USER = "icm"
_READY = "database system is ready to accept connections"
_START_SECONDS = 60.0
_POLL_SECONDS = 0.05
_UNPRIVILEGED = "nobody"
"""Who runs it where this process is root, whom PostgreSQL refuses."""


def find_programs(prefixes: Sequence[Path] = ()) -> Path | None:
    """The folder of ``initdb`` and ``postgres``; None where neither the system nor one of the prefixes has them.

    Args:
        prefixes: folders such as ``/usr``, below which Debian's packages were unpacked.
    """
    if installed := shutil.which("initdb"):
        return Path(installed).resolve().parent
    found = [path for prefix in (Path("/usr"), *prefixes) for path in prefix.glob("lib/postgresql/*/bin/initdb")]
    return max(found).parent if found else None


class PostgresServer:
    """A server that this machine reaches by a socket in its folder, as a context manager.

    Attributes:
        folder: of its data, socket and log; removed at the end.
    """

    def __init__(
        self, programs: Path, durable: bool = True, environment: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Prepares a server, which is not started yet.

        Args:
            programs: the folder of ``initdb`` and ``postgres``.
            durable: whether a commit waits for the disk; what is kept for a test need not.
            environment: variables beside this process's own.
        """
        self._programs, self._durable = programs, durable
        self._environment = {**os.environ, **environment, "LC_ALL": "C"}
        self.folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy's, of a database in it."""
        return f"postgresql+psycopg://{_USER}@/{database}?host={self.folder}"

    def __enter__(self) -> PostgresServer:
        """Makes an empty cluster and starts the server.

        Raises:
            IcmError: it does not start, or its programs may not be run by an unprivileged user.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="icm-postgres-"))
        try:
            if os.geteuid() == 0:
                shutil.chown(self.folder, _UNPRIVILEGED)
            self._start()
        except OSError as error:
            self._end()
            raise IcmError(f"cannot run PostgreSQL from {self._programs}: {error}") from None
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _start(self) -> None:
        data, log_path = self.folder / "data", self.folder / "log"
        made = subprocess.run(
            [self._programs / "initdb", "-D", data, "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync"],
            capture_output=True, text=True, **self._as_whom(),
        )  # fmt: skip
        if made.returncode:
            raise IcmError(f"initdb failed: {made.stderr.strip()}")
        switch = "on" if self._durable else "off"
        settings = [f"{name}={switch}" for name in ("fsync", "synchronous_commit", "full_page_writes")]
        options = [part for setting in ("listen_addresses=", *settings) for part in ("-c", setting)]
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", data, "-k", self.folder, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as_whom(),
            )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while _READY not in (text := log_path.read_text(errors="replace")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise IcmError(f"PostgreSQL does not start: {text.strip()}")
            time.sleep(_POLL_SECONDS)

    def _as_whom(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {"env": self._environment, "cwd": self.folder}
        return {"env": self._environment, "cwd": self.folder, "user": _UNPRIVILEGED, "extra_groups": []}

    def _end(self) -> None:
        if self._process is not None:
            # At once: nobody needs what it holds, and clients may still be connected.
            self._process.send_signal(signal.SIGQUIT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
