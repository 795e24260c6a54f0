"""Every address of the viewer refuses whoever may not be there: all routes of the application are walked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute

from cloud_service.settings import CloudSettings
from cloud_service.viewer.accounts.records import Scope, new_token
from cloud_service.viewer.app import ViewerApp
from cloud_service.viewer.web.routes import UNSAFE, Entry, Page, Right
from tests.cloud_service.viewer.house import House, make_database

OPEN_TO_ALL = {
    "/login",
    "/setup/{secret}",
    "/static/{digest}/{name:path}",
    # A link that an operator signed for somebody without an account.
    "/shared/{export}/{expires}/{signature}",
    # The way to the login provider and back, and out of it.
    "/login/provider",
    "/login/provider/callback",
    "/logout/provider",
}
"""What needs no login. Whoever adds to this has to say why."""


def entries(app: Starlette) -> list[Entry]:
    """What the rooms offered, one for each route; a route that no guard made has none."""
    routes = [route for route in app.routes if isinstance(route, Route | WebSocketRoute)]
    return [entry for route in routes if (entry := getattr(route.endpoint, "entry", None))]


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    """What the rooms of the whole viewer offer."""
    folder = tmp_path_factory.mktemp("cloud")
    make_database(folder)
    settings = CloudSettings.model_validate(
        {
            "store": {"folder": folder},
            "viewer": {
                "address": "127.0.0.1:0",
                "metrics": "127.0.0.1:0",
                "origin": "http://127.0.0.1:8080",
                "oidc": {
                    "issuer": "http://127.0.0.1:1",
                    "client_id": "icm",
                    "roles": [{"group": "chiefs", "role": "admin"}],
                },
            },
        }
    )

    async def walk() -> list[Entry]:
        app = ViewerApp(settings)
        found = entries(app.starlette)
        assert len(found) == len(app.starlette.routes)
        await app.close()
        return found

    return asyncio.run(walk())


def filled(path: str, camera: str = "gate") -> str:
    """An address of a route."""
    numbered = re.sub(r"\{\w+:int\}", "1", path)
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: camera if found[1] == "camera" else "x", numbered)


def calls(offered: list[Entry]) -> Iterator[tuple[Page, str]]:
    """All pages that need a login, once for each method."""
    for entry in offered:
        if isinstance(entry, Page) and entry.path not in OPEN_TO_ALL:
            yield from ((entry, method) for method in entry.methods)


def test_only_the_way_in_is_open_to_all(offered: list[Entry]) -> None:
    assert {entry.path for entry in offered if entry.right in (Right.NONE, Right.PUBLIC)} == OPEN_TO_ALL


def test_without_login_every_address_refuses(offered: list[Entry], house: House) -> None:
    with house.client(accept="application/json") as client:
        for page, method in calls(offered):
            answer = client.request(method, filled(page.path))
            assert (answer.status_code, answer.json()["error"]["reason"]) == (401, "UNAUTHENTICATED"), (method, page)


@pytest.mark.parametrize("name", ["vera", "otto"])
def test_a_role_without_the_right_is_refused_everywhere(offered: list[Entry], house: House, name: str) -> None:
    user = house.book.user(name)
    visit = house.logged_in(name)
    assert user is not None
    beyond = [(page, method) for page, method in calls(offered) if page.right not in user.role.rights]
    assert beyond
    for page, method in beyond:
        answer = visit.client.request(
            method, filled(page.path), data={"csrf": visit.csrf} if method in UNSAFE else None
        )
        assert answer.status_code == 403, (method, page)


@pytest.mark.parametrize("scope", list(Scope))
def test_a_token_of_too_little_scope_is_refused_everywhere(offered: list[Entry], house: House, scope: Scope) -> None:
    rights = {Scope.FEED: set[Right](), Scope.READ: {Right.VIEW}, Scope.OPERATE: {Right.VIEW, Right.OPERATE}}[scope]
    kept, token = new_token(name="a program", owner="anna", scopes=(scope,), cameras=("*",), now_us=1)
    house.book.add_token(kept)
    beyond = [
        (page, method)
        for page, method in calls(offered)
        if page.right not in rights and not (scope is Scope.FEED and page.feed)
    ]
    assert len(beyond) >= 10
    with house.client(authorization=f"Bearer {token}", accept="application/json") as program:
        for page, method in beyond:
            assert program.request(method, filled(page.path)).status_code == 403, (method, page)
    with house.client(accept="application/json") as program:
        for page, method in calls(offered):
            answer = program.request(method, filled(page.path), params={"token": token})
            allowed = scope is Scope.FEED and page.feed
            assert (answer.status_code in (401, 403)) != allowed, (method, page)
    house.book.delete_token(kept.id)


def test_a_form_without_its_token_is_refused_everywhere(offered: list[Entry], house: House) -> None:
    visit = house.logged_in("anna")
    unsafe = [page for page, method in calls(offered) if method in UNSAFE]
    assert unsafe
    other = house.logged_in("anna").csrf
    for page in unsafe:
        for shown in ({"x": "1"}, {"csrf": ""}, {"csrf": other}, {"csrf": "\u00e4"}):
            answer = visit.client.post(filled(page.path), data=shown)
            assert (answer.status_code, "load the page and try again" in answer.text) == (403, True), page
    assert visit.get("/").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
        {"origin": "http://[::bad"},
        {"origin": "", "sec-fetch-site": ""},
    ],
    ids=str,
)
def test_a_form_of_another_site_is_refused_everywhere(
    offered: list[Entry], house: House, headers: dict[str, str]
) -> None:
    visit = house.logged_in("anna")
    for page in [page for page, method in calls(offered) if method in UNSAFE]:
        answer = visit.client.post(filled(page.path), data={"csrf": visit.csrf}, headers=headers)
        assert (answer.status_code, "another site" in answer.text) == (403, True), page
    answer = visit.client.post("/login", data={"name": "anna", "password": "x"}, headers=headers)
    assert answer.status_code == 403


def test_a_form_that_does_not_say_where_it_comes_from_is_refused(house: House) -> None:
    visit = house.logged_in("anna")
    del visit.client.headers["origin"], visit.client.headers["sec-fetch-site"]
    assert visit.send("/account/sessions/end-others").status_code == 403


def test_a_camera_that_a_visitor_does_not_see_is_not_there_anywhere(offered: list[Entry], house: House) -> None:
    visit = house.logged_in("vera")
    of_cameras = [page for page, method in calls(offered) if "{camera}" in page.path and method == "GET"]
    for page in of_cameras:
        for camera in ("cellar", "nosuch", "..%2fgate", "GATE", "gate%00"):
            answer = visit.get(filled(page.path, camera))
            assert answer.status_code == 404, (page, camera)
