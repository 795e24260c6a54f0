"""The guard with a room of its own: who a request is, by session, token or proxy, and what it may then do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.websockets import WebSocket

from cloud_service.database.opening import database_engine
from cloud_service.database.tables import Base
from cloud_service.database.viewer_tables import ViewerSessionRow
from cloud_service.viewer.accounts import guard as guard_module
from cloud_service.viewer.accounts.book import AccountBook
from cloud_service.viewer.accounts.cookies import SessionCookie
from cloud_service.viewer.accounts.guard import Guard
from cloud_service.viewer.accounts.proxy import Proxies
from cloud_service.viewer.accounts.records import Scope, User, new_token, token_id
from cloud_service.viewer.accounts.roles import EVERY_CAMERA, Role
from cloud_service.viewer.accounts.sessions import IDLE_US, LONGEST_US, Sessions
from cloud_service.viewer.settings import ProxySettings
from cloud_service.viewer.web.errors import ErrorAnswers
from cloud_service.viewer.web.routes import Page, Right, Socket
from cloud_service.viewer.web.static_files import StaticFiles
from cloud_service.viewer.web.templates import Templates
from icm.service.clock import ManualClock

ORIGIN = "http://viewer.test"
TEMPLATES = Templates(StaticFiles(), ())


async def page(request: Request) -> Response:
    visitor = request.state.visitor
    return PlainTextResponse(f"{visitor.name} {visitor.role} {request.method}")


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(socket.state.visitor.name)
    await socket.receive_text()


ROOM = (
    Page("/see/{camera}", page, Right.VIEW),
    Page("/feed/{camera}", page, Right.VIEW, feed=True),
    Page("/hold/{camera}", page, Right.OPERATE, ("GET", "POST")),
    Page("/rule", page, Right.ADMINISTER, ("GET", "POST")),
    Socket("/live/{camera}", talk, Right.VIEW),
)


class Door:
    """A guarded room; requests are handed to it without a network."""

    def __init__(self, folder: Path, database: Engine, proxy: ProxySettings | None = None) -> None:
        self.clock = ManualClock()
        self.book, self.sessions = AccountBook(folder), Sessions(database, self.clock)
        self.cookie = SessionCookie(secure=False)
        guard = Guard.of(
            book=self.book, sessions=self.sessions, cookie=self.cookie, proxies=Proxies(proxy), origin=None,
            clock=self.clock,
        )  # fmt: skip
        handlers = ErrorAnswers(TEMPLATES).handlers()
        self.app = Starlette(routes=guard.routes(ROOM), exception_handlers=handlers)

    def user(self, name: str, role: Role = Role.VIEWER, *cameras: str) -> User:
        user = User(name, role, cameras or EVERY_CAMERA, "", self.clock.now_us())
        self.book.add_user(user)
        return user

    def token(self, owner: str, *scopes: Scope, cameras: tuple[str, ...] = EVERY_CAMERA, seconds: int = 0) -> str:
        now = self.clock.now_us()
        ends = now + seconds * 1_000_000 if seconds else 0
        kept, text = new_token(
            name="test", owner=owner, scopes=scopes, cameras=cameras, now_us=now, expires_us=ends
        )  # fmt: skip
        self.book.add_token(kept)
        return text

    async def ask(
        self, path: str, method: str = "GET", peer: str = "192.0.2.1", **headers: str | bytes
    ) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=(peer, 1))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            return await client.request(method, path, headers=named)

    async def status(self, path: str, method: str = "GET", peer: str = "192.0.2.1", **headers: str) -> int:
        return (await self.ask(path, method, peer, **headers)).status_code

    @asynccontextmanager
    async def call(self, path: str, **headers: str) -> AsyncIterator[Call]:
        """A WebSocket that is being opened."""
        call = Call()
        scope = {
            "type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "scheme": "ws", "client": ("192.0.2.1", 1), "subprotocols": [], "state": {},
            "headers": [(name.encode(), value.encode()) for name, value in {"host": "viewer.test", **headers}.items()],
        }  # fmt: skip
        task = asyncio.ensure_future(self.app(scope, call.receive, call.send))
        try:
            yield call
        finally:
            call.to_app.put_nowait({"type": "websocket.disconnect", "code": 1000})
            await asyncio.wait({task}, timeout=10)
            assert task.done()


class Call:
    """The other end of a WebSocket."""

    def __init__(self) -> None:
        self.to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.from_app: asyncio.Queue[Any] = asyncio.Queue()
        self.to_app.put_nowait({"type": "websocket.connect"})
        self.receive = self.to_app.get

    async def send(self, message: Any) -> None:
        self.from_app.put_nowait(message)

    async def next(self) -> dict[str, Any]:
        return dict(await asyncio.wait_for(self.from_app.get(), 10))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    """One with the table of sessions alone: all steps of the schema take longer than most tests here."""
    engine = database_engine(f"sqlite:///{tmp_path / 'sessions.db'}")
    Base.metadata.create_all(engine, [Base.metadata.tables[ViewerSessionRow.__tablename__]])
    yield engine
    engine.dispose()


@pytest.fixture
def door(tmp_path: Path, database: Engine) -> Door:
    door = Door(tmp_path / "viewer", database)
    door.user("anna", Role.ADMIN)
    door.user("otto", Role.OPERATOR, "gate", "yard-*")
    door.user("vera", Role.VIEWER, "gate", "yard-*")
    return door


def cookie(door: Door, name: str) -> str:
    return f"{door.cookie.name}={door.sessions.begin(name, '192.0.2.1', 'test')}"


@pytest.mark.parametrize(
    ("name", "path", "status"),
    [
        ("vera", "/see/gate", 200),
        ("vera", "/see/yard-2", 200),
        ("vera", "/see/cellar", 404),
        ("vera", "/see/..", 404),
        ("vera", "/see/yard-*", 404),
        ("vera", "/hold/gate", 403),
        ("vera", "/rule", 403),
        ("otto", "/hold/gate", 200),
        ("otto", "/hold/cellar", 404),
        ("otto", "/rule", 403),
        ("anna", "/hold/cellar", 200),
        ("anna", "/rule", 200),
    ],
)
async def test_role_and_cameras_decide(door: Door, name: str, path: str, status: int) -> None:
    assert await door.status(path, cookie=cookie(door, name)) == status


async def test_a_session_ends_when_it_is_idle_or_old_and_lasts_while_it_is_used(door: Door) -> None:
    shown = cookie(door, "vera")
    hours = 3600 * 1_000_000
    for _ in range(LONGEST_US // (10 * hours)):
        door.clock.advance(10 * 3600)
        assert await door.status("/see/gate", cookie=shown) == 200
    door.clock.advance((LONGEST_US % (10 * hours)) / 1e6)
    assert await door.status("/see/gate", cookie=shown) == 401
    shown = cookie(door, "vera")
    door.clock.advance(IDLE_US / 1e6)
    assert await door.status("/see/gate", cookie=shown) == 401


async def test_a_session_ends_with_logout_disabling_a_new_password_and_the_account(door: Door) -> None:
    shown = cookie(door, "vera")
    session = door.sessions.of("vera")[0]
    assert not door.sessions.end("otto", session.id)
    assert await door.status("/see/gate", cookie=shown) == 200
    assert door.sessions.end("vera", session.id)
    assert await door.status("/see/gate", cookie=shown) == 401
    shown = cookie(door, "vera")
    door.book.change_user("vera", lambda user: replace(user, disabled=True))
    assert await door.status("/see/gate", cookie=shown) == 401
    door.book.change_user("vera", lambda user: replace(user, disabled=False))
    assert await door.status("/see/gate", cookie=shown) == 200
    door.clock.advance(1)
    now = door.clock.now_us()
    door.book.change_user("vera", lambda user: replace(user, sessions_from_us=now))
    assert await door.status("/see/gate", cookie=shown) == 401
    shown = cookie(door, "vera")
    door.book.delete_user("vera")
    assert await door.status("/see/gate", cookie=shown) == 401
    # Another person under the same name does not get what was left in a browser.
    door.clock.advance(1)
    door.user("vera")
    assert await door.status("/see/gate", cookie=shown) == 401


@pytest.mark.parametrize("shown", ["", "x", "a" * 43, "a" * 5000, "%00", '"', "\u00e9"])
async def test_a_cookie_that_is_no_session_is_nobodys(door: Door, shown: str) -> None:
    answer = await door.ask("/see/gate", cookie=f"{door.cookie.name}={shown}".encode())
    assert (answer.status_code, answer.json()["error"]["reason"]) == (401, "UNAUTHENTICATED")


async def test_the_database_holds_no_session_that_a_browser_could_show(door: Door, database: Engine) -> None:
    shown = door.sessions.begin("vera", "192.0.2.1", "test")
    with database.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM viewer_sessions").all()
    assert len(rows) == 1
    assert shown not in str(rows)
    assert shown.encode() not in rows[0][0]


@pytest.mark.parametrize(
    ("scopes", "path", "in_header", "in_query"),
    [
        ((Scope.FEED,), "/feed/gate", 200, 200),
        ((Scope.FEED,), "/see/gate", 403, 401),
        ((Scope.READ,), "/feed/gate", 200, 403),
        ((Scope.READ,), "/see/gate", 200, 401),
        ((Scope.READ,), "/hold/gate", 403, 401),
        ((Scope.OPERATE,), "/hold/gate", 200, 401),
        ((Scope.OPERATE, Scope.READ, Scope.FEED), "/rule", 403, 401),
        ((Scope.FEED,), "/feed/cellar", 404, 404),
    ],
)
async def test_scopes_decide_what_a_token_may_do_and_only_a_feed_takes_one_in_the_query(
    door: Door, scopes: tuple[Scope, ...], path: str, in_header: int, in_query: int
) -> None:
    token = door.token("anna", *scopes, cameras=("gate",))
    assert await door.status(path, authorization=f"Bearer {token}") == in_header
    assert await door.status(f"{path}?token={token}") == in_query


async def test_a_token_may_no_more_than_its_owner_may_now(door: Door) -> None:
    token = f"Bearer {door.token('otto', Scope.OPERATE)}"
    assert await door.status("/hold/gate", "POST", authorization=token) == 200
    assert await door.status("/hold/cellar", authorization=token) == 404
    door.book.change_user("otto", lambda user: replace(user, role=Role.VIEWER))
    assert await door.status("/hold/gate", authorization=token) == 403
    assert await door.status("/see/gate", authorization=token) == 200
    door.book.change_user("otto", lambda user: replace(user, disabled=True))
    assert await door.status("/see/gate", authorization=token) == 401


async def test_a_token_that_ended_was_revoked_or_is_none_counts_nothing_whatever_cookie_comes_along(door: Door) -> None:
    token = door.token("vera", Scope.READ, seconds=60)
    assert await door.status("/see/gate", authorization=f"bearer {token}") == 200
    for wrong in (token[:-1], token[:-1] + "!", token.upper(), token[:13] + "a" * 43, "icm_", ""):
        assert await door.status("/see/gate", authorization=f"Bearer {wrong}", cookie=cookie(door, "vera")) == 401
    door.clock.advance(60)
    assert await door.status("/see/gate", authorization=f"Bearer {token}") == 401
    other = door.token("vera", Scope.READ)
    door.book.delete_token(token_id(other) or "")
    statuses = {await door.status("/see/gate", authorization=f"Bearer {each}") for each in (token, other)}
    assert statuses == {401}


async def test_the_file_of_accounts_holds_no_token_that_a_program_could_show(door: Door, tmp_path: Path) -> None:
    token = door.token("vera", Scope.READ)
    path = tmp_path / "viewer" / "accounts.json"
    assert token.rpartition("_")[2] not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_websocket_is_refused_without_login_right_camera_or_from_another_site(door: Door) -> None:
    shown = cookie(door, "vera")
    for path, headers, code in (
        ("/live/gate", {"origin": ORIGIN}, 4401),
        ("/live/gate", {"cookie": shown}, 4403),
        ("/live/gate", {"cookie": shown, "origin": "http://elsewhere.example"}, 4403),
        ("/live/gate", {"cookie": shown, "origin": ORIGIN, "sec-fetch-site": "cross-site"}, 4403),
        ("/live/cellar", {"cookie": shown, "origin": ORIGIN}, 4404),
    ):
        async with door.call(path, **headers) as call:
            answer = await call.next()
            assert (answer["type"], answer["code"]) == ("websocket.close", code), (path, headers)


async def test_a_websocket_is_cut_off_when_its_visitor_is_logged_out(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "_LOOK_AGAIN_SECONDS", 0.05)
    async with door.call("/live/gate", cookie=cookie(door, "vera"), origin=ORIGIN) as call:
        assert (await call.next())["type"] == "websocket.accept"
        assert (await call.next())["text"] == "vera"
        await asyncio.sleep(0.2)
        assert call.from_app.empty()
        door.sessions.end_all("vera")
        answer = await call.next()
        assert (answer["type"], answer["code"]) == ("websocket.close", 4401)


PROXY = ProxySettings.model_validate(
    {
        "trusted": ["10.0.0.0/8", "fd00::/8"],
        "user_header": "Remote-User",
        "groups_header": "Remote-Groups",
        "roles": [{"group": "guards", "role": "operator"}, {"group": "people", "role": "viewer"}],
    }
)


async def test_a_proxy_of_a_trusted_network_says_who_comes_and_others_do_not(tmp_path: Path, database: Engine) -> None:
    door = Door(tmp_path / "viewer", database, PROXY)
    door.user("vera", Role.VIEWER, "gate")
    named = {"remote_user": "vera"}
    assert await door.status("/see/gate", peer="10.1.2.3", **named) == 200
    assert await door.status("/see/gate", peer="::ffff:10.1.2.3", **named) == 200
    assert await door.status("/see/cellar", peer="10.1.2.3", **named) == 404
    for peer in ("192.0.2.1", "11.0.0.1", "::1", "unix"):
        assert await door.status("/see/gate", peer=peer, **named) == 401
        assert await door.status("/see/gate", peer=peer, x_forwarded_for="10.1.2.3", **named) == 401


async def test_groups_give_a_role_and_the_highest_counts(tmp_path: Path, database: Engine) -> None:
    door = Door(tmp_path / "viewer", database, PROXY)
    stranger = {"peer": "10.1.2.3", "remote_user": "Max Power"}
    assert (await door.ask("/hold/gate", **stranger, remote_groups="people, guards")).text == "Max Power operator GET"
    assert await door.status("/hold/gate", **stranger, remote_groups="people") == 403
    assert await door.status("/see/gate", **stranger, remote_groups="nobodies") == 403
    assert await door.status("/see/gate", **stranger) == 403
    assert await door.status("/see/gate", peer="10.1.2.3", remote_user=" ", remote_groups="guards") == 401


async def test_a_user_header_that_stands_there_twice_names_nobody(tmp_path: Path, database: Engine) -> None:
    door = Door(tmp_path / "viewer", database, PROXY)
    door.user("vera")
    transport = httpx.ASGITransport(door.app, client=("10.1.2.3", 1))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        answer = await client.get("/see/gate", headers=[("remote-user", "anna"), ("remote-user", "vera")])
    assert answer.status_code == 401


async def test_a_form_of_whom_a_proxy_names_needs_its_token_too(tmp_path: Path, database: Engine) -> None:
    door = Door(tmp_path / "viewer", database, PROXY)
    comes = {"peer": "10.1.2.3", "remote_user": "max", "remote_groups": "guards", "origin": ORIGIN}
    assert await door.status("/hold/gate", "POST", **comes, x_csrf_token="0" * 64) == 403


async def test_a_proxy_that_has_a_secret_must_show_it(tmp_path: Path, database: Engine) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret of the proxy\n")
    door = Door(tmp_path / "viewer", database, PROXY.model_copy(update={"secret_file": secret}))
    comes = {"peer": "10.1.2.3", "remote_user": "max", "remote_groups": "guards"}
    assert await door.status("/see/gate", **comes) == 401
    assert await door.status("/see/gate", **comes, x_proxy_secret="another") == 401
    assert await door.status("/see/gate", **comes, x_proxy_secret="a secret of the proxy") == 200


@pytest.mark.parametrize(
    ("peer", "said", "address"),
    [
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7, nonsense, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
    ],
)
def test_of_forwarded_addresses_those_that_trusted_proxies_saw_are_believed(peer: str, said: str, address: str) -> None:
    headers = [(b"x-forwarded-for", said.encode())] if said else []
    request = Request({"type": "http", "client": (peer, 1), "headers": headers})
    assert Proxies(PROXY).address_of(request) == address
