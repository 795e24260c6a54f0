"""Renews the scripts of others that the viewer ships: ``python -m deploy.vendor``, or ``make vendor``.

``vendor.json`` says which packages of the npm registry, in which versions, and which of their files. They are packed by
the machine's own npm, and what came is written down beside: the registry's digest of the package and one of each file.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from icm.atomic_file import write_atomically
from icm.errors import ConfigError, IcmError, UnreachableError

FOLDER = Path(__file__).parents[1] / "cloud_service/viewer/static/vendor"
LIST = "vendor.json"


def renew(folder: Path) -> None:
    """Fetches the packages of the list, and writes their files and the list anew.

    Raises:
        ConfigError: a package lacks a file that the list names.
        UnreachableError: npm is missing, or cannot fetch a package.
    """
    packages: list[dict[str, Any]] = json.loads((folder / LIST).read_text())
    for package in packages:
        with tempfile.TemporaryDirectory() as scratch:
            packed = _pack(f"{package['name']}@{package['version']}", Path(scratch))
            package["integrity"] = packed["integrity"]
            package["sha256"] = {}
            with tarfile.open(Path(scratch) / packed["filename"]) as archive:
                for name, source in package["files"].items():
                    content = _read(archive, f"package/{source}")
                    write_atomically(folder / name, content)
                    package["sha256"][name] = hashlib.sha256(content).hexdigest()
    write_atomically(folder / LIST, json.dumps(packages, indent=1) + "\n")


def _pack(name: str, scratch: Path) -> dict[str, Any]:
    command = ["npm", "pack", name, "--json", "--ignore-scripts", "--pack-destination", str(scratch)]
    try:
        found = subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UnreachableError(f"npm cannot fetch {name}: {getattr(error, 'stderr', None) or error}") from None
    packed: dict[str, Any] = json.loads(found.stdout)[0]
    return packed


def _read(archive: tarfile.TarFile, path: str) -> bytes:
    try:
        file = archive.extractfile(path)
    except KeyError:
        file = None
    if file is None:
        raise ConfigError(f"the package has no file {path}: change {LIST}")
    return file.read()


if __name__ == "__main__":
    try:
        renew(FOLDER)
    except IcmError as error:
        sys.exit(f"vendor: {error}")
