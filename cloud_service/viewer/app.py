"""Wires the viewer's parts together; nothing else."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack

from starlette.applications import Starlette

from cloud_service.archive.storage import ArchiveStorage
from cloud_service.database.waiting import SERVER_WAIT_SECONDS
from cloud_service.settings import CloudSettings
from cloud_service.viewer.accounts.audit import AuditLog
from cloud_service.viewer.accounts.book import AccountBook
from cloud_service.viewer.accounts.cookies import SessionCookie
from cloud_service.viewer.accounts.guard import Guard
from cloud_service.viewer.accounts.login import Login
from cloud_service.viewer.accounts.login_limits import LoginLimits
from cloud_service.viewer.accounts.notes import Notes
from cloud_service.viewer.accounts.passwords import Passwords
from cloud_service.viewer.accounts.proxy import Proxies
from cloud_service.viewer.accounts.sessions import Sessions
from cloud_service.viewer.exports.jobs import ExportJobs
from cloud_service.viewer.exports.links import ShareLinks
from cloud_service.viewer.exports.pages import EXPORTS, ExportPages
from cloud_service.viewer.inspector.pages import InspectorPages
from cloud_service.viewer.keeping.room import KEEPING, keeping_pages
from cloud_service.viewer.live.room import LiveRoom
from cloud_service.viewer.oidc.room import OidcRoom
from cloud_service.viewer.pages.about import AboutPages
from cloud_service.viewer.pages.account import AccountPages
from cloud_service.viewer.pages.audit import AUDIT, AuditPages
from cloud_service.viewer.pages.cameras import CameraPages
from cloud_service.viewer.pages.entrance import EntrancePages
from cloud_service.viewer.pages.health import HealthPages
from cloud_service.viewer.pages.tokens import TOKENS, TokenPages
from cloud_service.viewer.pages.users import USERS, UserPages
from cloud_service.viewer.playback.data import PlaybackData
from cloud_service.viewer.playback.pages import WATCH, PlaybackPages
from cloud_service.viewer.search.pages import REVIEW, SEARCH, SearchPages
from cloud_service.viewer.web.database import attach_when_there
from cloud_service.viewer.web.errors import ErrorAnswers
from cloud_service.viewer.web.headers import SecurityHeaders
from cloud_service.viewer.web.listener import Listener
from cloud_service.viewer.web.metrics import CountedRequests, ViewerMetrics
from cloud_service.viewer.web.routes import Entry, Right
from cloud_service.viewer.web.static_files import StaticFiles
from cloud_service.viewer.web.templates import Place, Templates
from icm.client.cloud import AsyncCloudClient
from icm.client.connection import Tls
from icm.errors import ConfigError
from icm.service.clock import SystemClock
from icm.service.health import Problems
from icm.service.stopping import stopping
from icm.service.telemetry import TelemetryServer

log = logging.getLogger(__name__)
NAVIGATION = (
    Place("/", "Wall", Right.VIEW),
    Place("/cameras", "Cameras", Right.VIEW),
    Place(WATCH, "Watch", Right.VIEW),
    Place(SEARCH, "Search", Right.VIEW),
    Place(REVIEW, "Review", Right.VIEW),
    Place(EXPORTS, "Exports", Right.OPERATE),
    KEEPING,
    Place(USERS, "Users", Right.ADMINISTER),
    Place(TOKENS, "Tokens", Right.ADMINISTER),
    Place(AUDIT, "Audit", Right.ADMINISTER),
)
_LIVE_PATIENCE_SECONDS = 3.0
"""After so long pages are told that the cloud does not answer."""


class ViewerApp:
    """The viewer. ``run`` it inside a running event loop."""

    def __init__(self, settings: CloudSettings) -> None:
        """Opens everything, and answers nobody yet.

        Raises:
            ConfigError: a setting cannot work.
            ListenError: an address cannot be listened on.
            StorageError: the database or the accounts cannot be opened.
        """
        with ExitStack() as owned:
            self._open(settings, owned)
            self._owned = owned.pop_all()

    def _open(self, settings: CloudSettings, owned: ExitStack) -> None:
        viewer, clock, problems = settings.viewer, SystemClock(), Problems()
        metrics, static = ViewerMetrics(), StaticFiles()
        folder = settings.viewer_folder
        book, audit = AccountBook(folder), AuditLog(folder, clock)
        notes = Notes(audit, clock, problems)
        proxies = Proxies(viewer.proxy)
        self._cloud = _cloud_client(settings)
        database = attach_when_there(settings.database_url, SERVER_WAIT_SECONDS)
        owned.callback(database.dispose)
        secure = viewer.tls is not None or (viewer.origin or "").startswith("https:")
        cookie, sessions = SessionCookie(secure), Sessions(database, clock)
        templates = Templates(static, NAVIGATION)
        live_cloud = _cloud_client(settings, _LIVE_PATIENCE_SECONDS)
        self._live = LiveRoom(live_cloud, database=database, templates=templates, groups=viewer.groups, clock=clock)
        self._login = Login(
            book=book,
            sessions=sessions,
            passwords=Passwords(),
            limits=LoginLimits(clock),
            notes=notes,
            attempts=metrics.logins,
            clock=clock,
        )
        search = SearchPages(database=database, cloud=self._cloud, templates=templates, notes=notes, clock=clock)
        self._exports = ExportJobs(
            folder=folder / "exports", cloud=self._cloud, bundles=settings.bundle_folders, clock=clock
        )
        links = ShareLinks(folder / "exports")
        exports = ExportPages(self._exports, links, database, templates, notes, clock)
        entrance = EntrancePages(self._login, cookie, templates, viewer.oidc.label if viewer.oidc else "")
        self._oidc = OidcRoom(viewer, self._login, cookie, entrance.form)
        health = HealthPages(database, self._cloud, folder, problems, templates)
        entries: list[Entry] = [
            *static.pages(),
            *entrance.pages(),
            *self._oidc.pages(),
            *CameraPages(database, templates).pages(),
            *AccountPages(self._login, cookie, templates).pages(),
            *UserPages(self._login, templates).pages(),
            *TokenPages(self._login, templates).pages(),
            *AuditPages(audit, notes, templates).pages(),
            *AboutPages(settings.bundle_folders, templates).pages(),
            *health.pages(),
            *self._live.entries(),
            *InspectorPages(self._cloud, templates).pages(),
            *search.pages(),
            *exports.pages(),
            *keeping_pages(self._cloud, self._exports, database, templates, notes),
            *PlaybackPages(database, templates, clock).pages(),
            *PlaybackData(
                database=database,
                storage=ArchiveStorage(settings.archive_url),
                cloud=self._cloud,
                notes=notes,
                clock=clock,
            ).pages(),
        ]
        guard = Guard.of(
            book=book, sessions=sessions, cookie=cookie, proxies=proxies, origin=viewer.origin, clock=clock
        )
        self.starlette = Starlette(routes=guard.routes(entries), exception_handlers=ErrorAnswers(templates).handlers())
        self.starlette.router.redirect_slashes = False
        self._listener = Listener(
            SecurityHeaders(CountedRequests(self.starlette, metrics), secure),
            address=viewer.address,
            allow_plaintext=viewer.allow_plaintext,
            tls=viewer.tls,
            connections=viewer.connections,
            client_of=proxies.client_of,
        )
        owned.callback(self._listener.close)
        self._telemetry = TelemetryServer(viewer.metrics, metrics.registry, health.lines)
        scheme = "https" if viewer.tls else "http"
        self._address = viewer.origin or f"{scheme}://{viewer.address.rpartition(':')[0]}:{self.port}"

    @property
    def port(self) -> int:
        """Of the pages."""
        return self._listener.port

    @property
    def metrics_port(self) -> int:
        """Of /metrics and /healthz."""
        return self._telemetry.port

    async def close(self) -> None:
        """Gives back what was opened; ``run`` does so by itself."""
        await asyncio.to_thread(self._telemetry.stop)
        await self._exports.close()
        await self._live.close()
        await self._oidc.close()
        await self._cloud.close()
        self._owned.close()

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        with stopping(loop, self._listener.stop):
            self._telemetry.start()
            self._exports.start()
            log.info("listening http=%d metrics=%d at %s", self.port, self.metrics_port, self._address)
            if self._login.book.is_empty:
                link = f"{self._address}/setup/{self._login.secret}"
                log.warning("nobody has an account yet: make the first one at %s", link)
            try:
                await self._listener.serve()
            finally:
                log.info("stopping")
                await self.close()
        log.info("stopped")


def _cloud_client(settings: CloudSettings, patience: float = 30.0) -> AsyncCloudClient:
    cloud = settings.viewer.cloud
    address = cloud.address or settings.ingest.address
    if address.endswith(":0"):
        raise ConfigError("viewer.cloud.address is not set, and ingest.address has port 0: name the cloud's port")
    tls = None if cloud.tls is None else Tls(cloud.tls.authority, cloud.tls.certificate, cloud.tls.key)
    return AsyncCloudClient(address, tls=tls, timeout=patience, allow_plaintext=cloud.allow_plaintext)
