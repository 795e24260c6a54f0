"""The services as child processes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from icm.errors import IcmError

_LISTENING = re.compile(r"listening\b.*\b(?:grpc|http)=(\d+).*\bmetrics=(\d+)")
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Ports:
    """Where a service listens on loopback.

    Attributes:
        grpc: for calls; the viewer for browsers.
        metrics: for /metrics and /healthz.
    """

    grpc: int
    metrics: int


class Service:
    """A running ``icm-edge``, ``icm-cloud`` or viewer; what it logs goes to a file."""

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any],
        folder: Path,
        options: Sequence[str] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
        command: str = "run",
    ) -> None:
        """Writes the settings to ``folder`` and starts the service with them.

        Args:
            name: the command, such as ``icm-edge``.
            settings: as in the service's YAML file.
            options: further arguments.
            environment: variables beside this process's own.
            command: what it is to do: ``run``, or ``viewer``.

        Raises:
            IcmError: the command is not installed.
        """
        self.name = name
        folder.mkdir(parents=True, exist_ok=True)
        stem = name if command == "run" else f"{name}-{command}"
        self.log_path = folder / f"{stem}.log"
        settings_path = folder / f"{stem}.yaml"
        settings_path.write_text(yaml.safe_dump(dict(settings), sort_keys=False))
        program = Path(sysconfig.get_path("scripts")) / name
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()  # a restart goes on in the same file
            try:
                self.process = subprocess.Popen(
                    [program, command, "--config", settings_path, *options],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **environment},
                )  # fmt: skip
            except OSError as error:
                raise IcmError(f"cannot start {program}: {error.strerror}; is the project installed here?") from None

    @property
    def log(self) -> str:
        """All it said so far."""
        with self.log_path.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    async def listening(self, seconds: float = 120.0) -> Ports:
        """Waits until the service listens.

        Raises:
            IcmError: it ended instead, or took too long.
        """
        deadline = time.monotonic() + seconds
        while True:
            # In this order: what is said just before the end is still seen.
            ended = self.process.poll() is not None
            found = _LISTENING.search(self.log)
            if found:
                return Ports(int(found[1]), int(found[2]))
            if ended:
                self.check()
            if time.monotonic() > deadline:
                raise IcmError(f"{self.name} does not listen after {seconds:.0f} s. {self.tail()}")
            await asyncio.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Checks that the service is running.

        Raises:
            IcmError: the service has ended; holds the end of its log.
        """
        code = self.process.poll()
        if code is not None:
            raise IcmError(f"{self.name} ended with exit code {code}. {self.tail()}")

    def tail(self, lines: int = 15) -> str:
        """The end of its log, for an error."""
        text = "\n".join(f"    {line}" for line in self.log.splitlines()[-lines:])
        return f"The end of {self.log_path}:\n{text or '    (empty)'}"

    async def stop(self, seconds: float = 60.0) -> int:
        """Asks the service to drain and end (SIGTERM), and makes it end (SIGKILL) when it takes too long.

        Returns its exit code.
        """
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return await self.ended(seconds)

    async def ended(self, seconds: float = 60.0) -> int:
        """Waits for the service to end, kills it when it takes too long, and returns its exit code."""
        try:
            return await asyncio.to_thread(self.process.wait, seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode

    def kill(self) -> None:
        """Ends the service at once, without a chance to tidy up."""
        self.process.kill()
        self.process.wait()
