"""Certificates as tests need them, of a real authority in a folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from cloud_service.access.certificates.authority import Authority
from cloud_service.access.certificates.grants import granting
from icm.rpc.tls import MutualTlsSettings
from icm.service.clock import Clock, SystemClock


class Certificates:
    """Issues; ``machine`` folders are those that services read."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.folder = folder
        self.authority = Authority.create(folder, clock or SystemClock())
        self.revoked = folder / "crl.pem"

    def server(self, name: str = "cloud", hosts: Sequence[str] = ("127.0.0.1", "localhost")) -> MutualTlsSettings:
        return files_in(self.authority.issue(granting(name, (), False), hosts))

    def edge(self, name: str, *cameras: str, days: int = 30) -> MutualTlsSettings:
        return files_in(self.authority.issue(granting(name, cameras, False), (), days))

    def reader(self, name: str = "viewer") -> MutualTlsSettings:
        return files_in(self.authority.issue(granting(name, (), True), ()))


def files_in(folder: Path) -> MutualTlsSettings:
    return MutualTlsSettings(certificate=folder / "tls.crt", key=folder / "tls.key", authority=folder / "ca.crt")


def copied(settings: MutualTlsSettings, folder: Path) -> MutualTlsSettings:
    """The same files in another folder, where they stay when the authority issues anew."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (settings.certificate, settings.key, settings.authority):
        shutil.copy(path, folder / path.name)
    return files_in(folder)
