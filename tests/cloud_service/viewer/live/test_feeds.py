"""Pictures for other programs, by token: the newest one, and a stream that does not end by itself."""

from __future__ import annotations

import time
from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image

from cloud_service.viewer.accounts.records import Scope, new_token
from cloud_service.viewer.live.limits import MOST_OF_A_USER
from tests.cloud_service.viewer.live.conftest import HEIGHT, SIDE, WIDTH, Camera, LiveHouse


@pytest.fixture(scope="module")
def gate(live: LiveHouse) -> Camera:
    return live.camera("gate")


def token_of(live: LiveHouse, *scopes: Scope, owner: str = "vera", cameras: tuple[str, ...] = ("*",)) -> str:
    now_us = time.time_ns() // 1000
    token, text = new_token(name="test", owner=owner, scopes=scopes, cameras=cameras, now_us=now_us)
    live.house.book.add_token(token)
    return text


def square_in(jpeg: bytes) -> tuple[int, int]:
    """The picture's columns, and where in it the bright square begins, in columns of the coded frame."""
    with Image.open(BytesIO(jpeg)) as picture:
        assert picture.format == "JPEG"
        bright = np.nonzero(np.asarray(picture.convert("L")) > 140)[1]
        return picture.width, round(bright.min() * WIDTH / picture.width)


def test_the_newest_picture_is_given_to_who_has_a_token_of_scope_feed(live: LiveHouse, gate: Camera) -> None:
    token = token_of(live, Scope.FEED)
    live.send(gate, 208)
    for how in ({"params": {"token": token}}, {"headers": {"authorization": f"Bearer {token}"}}):
        answer = httpx.get(f"{live.house.url}/cameras/gate/latest.jpg", **how)  # type: ignore[arg-type]
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-icm-frame"].startswith(f"1/{gate.sequence} ")
        assert square_in(answer.content) == (WIDTH, pytest.approx(208, abs=3))
    small = httpx.get(f"{live.house.url}/cameras/gate/latest.jpg", params={"token": token, "width": "240"})
    assert square_in(small.content) == (240, pytest.approx(208, abs=3))


@pytest.mark.parametrize("path", ["latest.jpg", "live.mjpg"])
def test_who_may_not_see_a_camera_gets_no_picture_of_it(live: LiveHouse, gate: Camera, path: str) -> None:
    live.camera("cellar")
    url, token = live.house.url, token_of(live, Scope.FEED, cameras=("gate",))
    others = token_of(live, Scope.READ, owner="anna")
    for camera, params, status in (
        ("gate", {}, 401),
        ("gate", {"token": "icm_00000000_" + "a" * 43}, 401),
        ("yard-a", {"token": token}, 404),
        ("cellar", {"token": token}, 404),
        ("..%2fgate", {"token": token}, 404),
        ("gate", {"token": others}, 403),
        ("gate", {"token": token, "width": "1"}, 400),
        ("gate", {"token": token, "width": "9" * 400}, 400),
    ):
        assert httpx.get(f"{url}/cameras/{camera}/{path}", params=params).status_code == status, (camera, params)


def test_a_camera_without_a_picture_is_not_found_by_name(live: LiveHouse) -> None:
    token = token_of(live, Scope.FEED, owner="anna")
    answer = httpx.get(f"{live.house.url}/cameras/attic/latest.jpg", params={"token": token}, timeout=30)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "NOT_FOUND")
    assert "attic has no picture" in answer.json()["error"]["message"]


def parts(answer: httpx.Response) -> list[tuple[str, bytes]]:
    """The first three pictures of a stream, with their frames' names."""
    left, found = b"", []
    for chunk in answer.iter_raw():
        left += chunk
        while (end := left.find(b"\r\n\r\n")) >= 0:
            head = dict(line.split(": ", 1) for line in left[:end].decode().splitlines() if ": " in line)
            size = int(head["Content-Length"])
            if len(left) < end + 4 + size + 2:
                break
            found.append((head["X-Icm-Frame"], left[end + 4 : end + 4 + size]))
            left = left[end + 4 + size + 2 :]
            if len(found) == 3:
                return found
    raise AssertionError("the stream ended")


def test_a_stream_gives_one_picture_after_the_other(live: LiveHouse, gate: Camera) -> None:
    params = {"token": token_of(live, Scope.FEED)}
    with (
        live.sending(gate),
        httpx.stream("GET", f"{live.house.url}/cameras/gate/live.mjpg", params=params, timeout=30) as answer,
    ):
        assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=icm-frame"
        pictures = parts(answer)
    sequences = [int(name.split()[0].split("/")[1]) for name, _ in pictures]
    assert sequences == sorted(set(sequences))
    for _, jpeg in pictures:
        columns, left = square_in(jpeg)
        assert columns == WIDTH
        assert 0 <= left <= WIDTH - SIDE
    assert HEIGHT < WIDTH


def test_streams_of_one_user_are_bounded_and_those_that_ended_make_room(live: LiveHouse, gate: Camera) -> None:
    params = {"token": token_of(live, Scope.FEED, owner="anna")}
    url = f"{live.house.url}/cameras/gate/live.mjpg"
    with httpx.Client(timeout=30, limits=httpx.Limits(max_connections=None)) as client:
        open_ = [
            client.send(client.build_request("GET", url, params=params), stream=True) for _ in range(MOST_OF_A_USER)
        ]
        assert {answer.status_code for answer in open_} == {200}
        refused = client.get(url, params=params)
        assert (refused.status_code, refused.json()["error"]["reason"]) == (429, "BUSY")
        for answer in open_:
            answer.close()
        status = 429
        while status == 429:
            with client.stream("GET", url, params=params) as again:
                status = again.status_code
        assert status == 200
