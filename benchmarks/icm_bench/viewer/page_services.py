"""The processes that pages are measured with: a cloud with a few records, and the viewer, twice: as it is, and counting
what it asks the database.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml

from cloud_service.database.opening import open_database
from cloud_service.store import RawRecord, RecordStore
from cloud_service.store.index import SegmentIndex
from cloud_service.viewer.accounts.book import AccountBook
from cloud_service.viewer.accounts.passwords import Passwords
from cloud_service.viewer.accounts.records import Scope, User, new_token
from cloud_service.viewer.accounts.roles import EVERY_CAMERA, Role
from cloud_service.viewer.exports.record import Export, State, new_id
from icm.codec.bitstream.record import StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.encoder import Encoder
from icm.errors import IcmError
from icm.frame_id import FrameId
from icm.service.clock import SystemClock
from icm.testing.processes import Service
from icm_bench.viewer.page_table import PERSON, MeasuredPage

_ANY_PORT = "127.0.0.1:0"
_PASSWORD = "a few words will do"
_OTHERS = 30
"""Accounts, tokens and exports beside."""
_FRAMES = 5
_WIDTH, _HEIGHT = 640, 384
_DAY_US = 86_400_000_000


class Browser:
    """Somebody who looks at pages."""

    def __init__(self, url: str, process: int) -> None:
        """Logged in.

        Args:
            url: of the viewer.
            process: that it is.
        """
        headers = {"accept": "text/html", "origin": url, "sec-fetch-site": "same-origin"}
        self._stranger = httpx.Client(base_url=url, headers=headers, timeout=60)
        self._person = httpx.Client(base_url=url, headers=headers, timeout=60)
        self._tasks = Path(f"/proc/{process}/task")
        self._log_in()

    def ask(self, page: MeasuredPage, address: str) -> httpx.Response:
        """A page.

        Raises:
            IcmError: the viewer answered something else.
        """
        if page.logs_in:
            return self._log_in()
        answer = (self._stranger if page.by_stranger else self._person).get(address)
        if answer.status_code != 200:
            raise IcmError(f"the viewer answered {address} with {answer.status_code}: {answer.text[:300]}")
        return answer

    def worked(self) -> float:
        """Seconds that all threads of the viewer worked so far."""
        total = 0
        for task in self._tasks.iterdir():
            # A thread may end just now.
            with suppress(FileNotFoundError, ProcessLookupError):
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def close(self) -> None:
        """Closes its connections."""
        self._stranger.close()
        self._person.close()

    def _log_in(self) -> httpx.Response:
        answer = self._person.post("/login", data={"name": PERSON, "password": _PASSWORD})
        if answer.status_code != 303:
            raise IcmError(f"the viewer lets nobody in: {answer.status_code}: {answer.text[:300]}")
        return answer


@contextmanager
def running_cloud(folder: Path, camera: str) -> Iterator[tuple[str, FrameId]]:
    """A cloud that has a few frames of a camera; gives its address, and one of them.

    Args:
        folder: for its store.
        camera: whose frames.
    """
    bundle = Bundle.load(DEFAULT_BUNDLE, 1)
    database = open_database(f"sqlite:///{folder / 'cloud.db'}")
    store = RecordStore(folder / "records", SegmentIndex(database), 10.0, SystemClock())
    begun_us, encoder = time.time_ns() // 1000 - 60_000_000, Encoder(bundle)
    header = StreamHeader(bundle.codec_id, camera, 1, begun_us, _WIDTH, _HEIGHT)
    for sequence in range(1, _FRAMES + 1):
        picture = np.full((_HEIGHT, _WIDTH, 3), 90, np.uint8)
        picture[100:200, 40 * sequence : 40 * sequence + 60] = 230
        record = encoder.encode(picture, 3).record(sequence, begun_us + sequence * 200_000)
        store.append(header, [RawRecord(record, record.pack(header))])
    store.close()
    database.dispose()
    settings = {
        "store": {"folder": str(folder)},
        "bundle": str(DEFAULT_BUNDLE),
        "ingest": {"address": _ANY_PORT},
        "metrics": {"address": _ANY_PORT},
        "detector": {"kind": "none"},
    }
    service = Service("icm-cloud", settings, folder)
    try:
        port = asyncio.run(service.listening()).grpc
        yield f"127.0.0.1:{port}", FrameId(camera, 1, _FRAMES - 1)
    finally:
        service.kill()


@contextmanager
def running_viewer(folder: Path, database: Path, cloud: str) -> Iterator[Browser]:
    """The viewer, and somebody who is logged in there.

    Args:
        folder: of accounts, which are there.
        database: of the archive.
        cloud: its address.
    """
    service = Service("icm-cloud", _viewer_settings(folder, database, cloud), folder, command="viewer")
    try:
        port = asyncio.run(service.listening()).grpc
        with closing(Browser(f"http://127.0.0.1:{port}", service.process.pid)) as browser:
            yield browser
    finally:
        service.kill()


@contextmanager
def counting_viewer(folder: Path, database: Path, cloud: str) -> Iterator[Browser]:
    """As ``running_viewer``, of one that says in each answer what it asked the database."""
    settings = folder / "counting.yaml"
    settings.write_text(yaml.safe_dump(_viewer_settings(folder, database, cloud)))
    command = [sys.executable, "-m", "icm_bench.viewer.counted_viewer", str(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise IcmError("the viewer did not start; what it said stands above")
            with closing(Browser(f"http://127.0.0.1:{int(line)}", process.pid)) as browser:
                yield browser
        finally:
            process.kill()


def _viewer_settings(folder: Path, database: Path, cloud: str) -> dict[str, Any]:
    return {
        "store": {"folder": str(folder)},
        "database": f"sqlite:///{database.absolute()}",
        "viewer": {"address": _ANY_PORT, "metrics": _ANY_PORT, "cloud": {"address": cloud}},
    }


def add_people(folder: Path, camera: str) -> str:
    """Accounts, tokens and exports; gives the name of an export."""
    book, now_us = AccountBook(folder / "viewer"), time.time_ns() // 1000
    book.add_user(User(PERSON, Role.ADMIN, EVERY_CAMERA, Passwords().hash(_PASSWORD), 1))
    exports = folder / "viewer" / "exports"
    exports.mkdir(parents=True)
    names = [new_id() for _ in range(_OTHERS)]
    for number, name in enumerate(names):
        book.add_user(User(f"person-{number:02}", Role.VIEWER, EVERY_CAMERA, "", 1))
        scopes = (Scope.READ,)
        token, _ = new_token(name=f"for {number}", owner=PERSON, scopes=scopes, cameras=EVERY_CAMERA, now_us=now_us)
        book.add_token(token)
        export = Export(
            name, PERSON, (camera,), now_us - _DAY_US, now_us - _DAY_US // 2, f"case {number}", now_us, State.FAILED
        )
        (exports / f"{name}.json").write_text(export.to_text())
    return names[0]
