"""A viewer as its users have it: a process of its own beside a database that another one made."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy.orm import Session as Transaction

from cloud_service.database.opening import database_engine, open_database
from cloud_service.database.tables import CursorRow, RecordSegmentRow
from cloud_service.database.usage_tables import UsageRow
from cloud_service.viewer.accounts.book import AccountBook
from cloud_service.viewer.accounts.passwords import Passwords
from cloud_service.viewer.accounts.records import User
from cloud_service.viewer.accounts.roles import EVERY_CAMERA, Role
from icm.testing.processes import Service

PASSWORD = "a few words will do"
KEPT = Passwords().hash(PASSWORD)
"""What is kept of it: to make it takes a moment."""
CSRF = "csrf"


@dataclass
class House:
    """A running viewer.

    Attributes:
        folder: of the cloud, whose database is there.
        url: of the viewer, without a path.
        metrics: of its /metrics and /healthz.
        service: the process.
    """

    folder: Path
    url: str
    metrics: str
    service: Service
    _clients: list[httpx.Client] = field(default_factory=list, repr=False)

    @property
    def book(self) -> AccountBook:
        """Its accounts."""
        return AccountBook(self.folder / "viewer")

    def client(self, verify: bool = True, **headers: str) -> httpx.Client:
        """Somebody who is not logged in: a browser, as far as headers go.

        Args:
            verify: whether the certificate has to be of a public authority.
            headers: beside the usual ones, or instead of them.
        """
        usual = {"accept": "text/html", "origin": self.url, "sec-fetch-site": "same-origin"}
        return httpx.Client(base_url=self.url, headers={**usual, **headers}, timeout=30, verify=verify)

    def logged_in(self, name: str) -> Visit:
        """Somebody who is: a browser with a session."""
        client = self.client()
        self._clients.append(client)
        answer = client.post("/login", data={"name": name, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return Visit.of(client)

    def close(self) -> None:
        """Closes the browsers in which somebody is logged in."""
        for client in self._clients:
            client.close()


@dataclass
class Visit:
    """A browser in which somebody is logged in.

    Attributes:
        client: sends what a browser does.
        csrf: what its forms carry.
    """

    client: httpx.Client
    csrf: str = field(default="", repr=False)

    @staticmethod
    def of(client: httpx.Client) -> Visit:
        """Of a client whose cookie is of a session."""
        page = client.get("/").text
        return Visit(client, page.split('name="csrf" content="')[1].split('"')[0])

    def get(self, path: str) -> httpx.Response:
        """A page."""
        return self.client.get(path)

    def send(self, path: str, **fields: str) -> httpx.Response:
        """A form, as its page would send it."""
        return self.client.post(path, data={CSRF: self.csrf, **fields})


def add_user(folder: Path, name: str, role: Role = Role.VIEWER, *cameras: str, **changes: Any) -> User:
    """Adds an account with the usual password."""
    user = User(name, role, cameras or EVERY_CAMERA, KEPT, 1)
    user = replace(user, **changes)
    AccountBook(folder / "viewer").add_user(user)
    return user


def make_database(folder: Path, url: str | None = None) -> None:
    """Makes a cloud's database, as a cloud would that starts for the first time."""
    folder.mkdir(parents=True, exist_ok=True)
    open_database(url or f"sqlite:///{folder / 'cloud.db'}").dispose()


def add_camera(folder: Path, name: str, last_us: int | None, database: str | None = None) -> None:
    """Adds a camera as the index has it: with segments that are done with, or none yet."""
    engine = database_engine(database or f"sqlite:///{folder / 'cloud.db'}")
    with Transaction(engine) as transaction:
        transaction.add(CursorRow(camera=name, detect_segment=1, detect_offset=0, archive_segment=1))
        transaction.add(UsageRow(camera=name, tier="records", files=2, bytes=12_345_678, disk_bytes=12_345_678))
        transaction.add(UsageRow(camera=name, tier="video", files=2, bytes=123_456_789, disk_bytes=123_456_789))
        for number in (1, 2) if last_us is not None else ():
            end = (last_us or 0) - (2 - number) * 10_000_000
            transaction.add(
                RecordSegmentRow(
                    camera=name,
                    number=number,
                    epoch=1,
                    path=f"{name}/{number}.icm",
                    size=1000,
                    records=2,
                    first_capture_us=end - 9_000_000,
                    last_capture_us=end,
                    sequences=f"{2 * number - 1}-{2 * number}",
                    kept_from_us=end,
                    disk_bytes=4096,
                    sha256=b"",
                    checksum=0,
                    first_sequence=2 * number - 1,
                    last_sequence=2 * number,
                    state="whole",
                )
            )
        transaction.commit()
    engine.dispose()


@contextmanager
def running_viewer(
    folder: Path, viewer: Mapping[str, Any] | None = None, database: str | None = None
) -> Iterator[House]:
    """Starts a viewer and ends it.

    Args:
        folder: of the cloud; its database is made if it is missing.
        viewer: settings of the viewer's section.
        database: URL of the cloud's database; None for the usual one.
    """
    make_database(folder, database)
    settings: dict[str, Any] = {
        "store": {"folder": str(folder)},
        "viewer": {"address": "127.0.0.1:0", "metrics": "127.0.0.1:0", **(viewer or {})},
    }
    if database:
        settings["database"] = database
    service = Service("icm-cloud", settings, folder, command="viewer")
    try:
        ports = asyncio.run(service.listening())
        scheme = "https" if "tls" in (viewer or {}) else "http"
        with closing(
            House(folder, f"{scheme}://127.0.0.1:{ports.grpc}", f"http://127.0.0.1:{ports.metrics}", service)
        ) as house:
            yield house
    finally:
        asyncio.run(service.stop())
