"""The wall's WebSocket against those who mean harm: strange handshakes, messages that are none, too many of both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from cloud_service.viewer.accounts.records import Scope
from cloud_service.viewer.accounts.roles import Role
from cloud_service.viewer.live.limits import MOST_OF_A_USER
from cloud_service.viewer.live.messages import MOST_TILES
from tests.cloud_service.viewer.house import add_user
from tests.cloud_service.viewer.live.conftest import LiveHouse
from tests.cloud_service.viewer.live.test_feeds import token_of


@pytest.fixture(scope="module", autouse=True)
def gate(live: LiveHouse) -> None:
    live.camera("gate")


@pytest.fixture(scope="module")
def cookie(live: LiveHouse) -> str:
    """Of vera's browser."""
    client = live.house.logged_in("vera").client
    return "; ".join(f"{name}={value}" for name, value in client.cookies.items())


@contextmanager
def socket_of(live: LiveHouse, **headers: str) -> Iterator[ClientConnection]:
    """A WebSocket to the wall, whose handshake has these headers."""
    url = live.house.url.replace("http", "ws", 1) + "/live"
    with connect(url, additional_headers=headers, compression=None, proxy=None) as socket:
        yield socket


def header_of(message: Any) -> dict[str, Any]:
    length = int.from_bytes(message[:4], "big")
    found = json.loads(message[4 : 4 + length])
    assert isinstance(found, dict)
    return found


def test_a_page_of_the_viewer_gets_headers_and_pictures(live: LiveHouse, cookie: str) -> None:
    with socket_of(live, cookie=cookie, origin=live.house.url) as socket:
        socket.send(json.dumps({"watch": {"gate": 200}}))
        while (header := header_of(message := socket.recv(30)))["frame"] is None:
            pass
    assert header["camera"] == "gate"
    assert header["frame"]["boxes"][0][0] == "square"
    assert message[4 + int.from_bytes(message[:4], "big") :][:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    ("origin", "with_cookie"),
    [
        ("https://evil.example", True),
        ("http://127.0.0.1", True),
        ("null", True),
        ("http://[", True),
        (None, True),
        ("", False),
    ],
)
def test_a_handshake_from_elsewhere_or_of_nobody_is_refused(
    live: LiveHouse, cookie: str, origin: str | None, with_cookie: bool
) -> None:
    headers = {"cookie": cookie} if with_cookie else {}
    if origin is not None:
        headers["origin"] = origin or live.house.url
    with pytest.raises(InvalidStatus) as refused, socket_of(live, **headers):
        pass
    assert refused.value.response.status_code == 403


def test_a_token_of_scope_feed_opens_no_wall_and_one_of_scope_read_does(live: LiveHouse) -> None:
    with (
        pytest.raises(InvalidStatus),
        socket_of(live, authorization=f"Bearer {token_of(live, Scope.FEED)}"),
    ):
        pass
    with socket_of(live, authorization=f"Bearer {token_of(live, Scope.READ)}") as socket:
        socket.send(json.dumps({"watch": {"gate": 200}}))
        assert header_of(socket.recv(30))["camera"] == "gate"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("", 4400),
        ("[", 4400),
        ("[" * 20_000, 4400),
        ("{}", 4400),
        ('{"watch": {"gate": NaN}}', 4400),
        ('{"watch": {"gate": -1}}', 4400),
        ('{"watch": {"gate": 1e999}}', 4400),
        ('{"watch": {"gate": true}}', 4400),
        ('{"watch": {"../gate": 100}}', 4400),
        ('{"watch": {"gate": 100}, "ack": 1}', 4400),
        ('{"ack": 1}', 4400),
        ('{"ack": -1}', 4400),
        ('{"ack": 1.5}', 4400),
        (json.dumps({"watch": {f"gate-{number}": 100 for number in range(MOST_TILES + 1)}}), 4400),
        (b"\x00", 4400),
        (" " * 40_000, 1009),
        ('{"watch": {"cellar": 100}}', 4404),
        ('{"watch": {"nowhere": 100}}', 4404),
    ],
)
def test_a_message_that_is_none_ends_the_connection_with_the_reason(
    live: LiveHouse, cookie: str, message: str | bytes, code: int
) -> None:
    with socket_of(live, cookie=cookie, origin=live.house.url) as socket:
        socket.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code
    assert closed.value.rcvd.reason


def test_who_may_see_a_camera_no_more_is_sent_no_more_of_it(live: LiveHouse) -> None:
    gate = live.camera("gate")
    add_user(live.house.folder, "ida", Role.VIEWER, "gate")
    client = live.house.logged_in("ida").client
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    with socket_of(live, cookie=cookie, origin=live.house.url) as socket:
        socket.send(json.dumps({"watch": {"gate": 200}}))
        assert header_of(socket.recv(30))["camera"] == "gate"
        live.house.book.change_user("ida", lambda user: replace(user, cameras=("yard-*",)))
        with live.sending(gate):
            with suppress(ConnectionClosed):
                while True:
                    socket.send(json.dumps({"ack": header_of(socket.recv(30))["number"]}))
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(30)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, "gate" in closed.value.rcvd.reason) == (4404, True)


def test_who_says_too_much_is_cut_off(live: LiveHouse, cookie: str) -> None:
    with socket_of(live, cookie=cookie, origin=live.house.url) as socket:
        with suppress(ConnectionClosed):
            for _ in range(10_000):
                socket.send('{"watch": {}}')
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4429


def test_of_hundreds_of_connections_a_few_are_let_in_and_the_rest_leaves_nothing_behind(
    live: LiveHouse, cookie: str
) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_OF_A_USER):
            stack.enter_context(socket_of(live, cookie=cookie, origin=live.house.url))
        for _ in range(200):
            with pytest.raises(InvalidStatus), socket_of(live, cookie=cookie, origin=live.house.url):
                pass
    answered = False
    while not answered:  # those before may not have ended yet
        try:
            with socket_of(live, cookie=cookie, origin=live.house.url) as socket:
                socket.send(json.dumps({"watch": {"gate": 200}}))
                answered = header_of(socket.recv(30))["camera"] == "gate"
        except InvalidStatus:
            continue
    assert "Traceback" not in live.house.service.log
