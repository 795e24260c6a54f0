"""In and out: the first account, logging in, and what strangers try at the door."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from cloud_service.viewer.accounts.login_limits import MOST_OF_BOTH
from tests.certificates import Certificates
from tests.cloud_service.viewer.house import PASSWORD, House, Visit, add_user, running_viewer

UPLOAD = b'--b\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\nx\r\n--b--'


def test_the_link_in_the_log_makes_the_first_account_once_however_many_use_it_at_once(tmp_path: Path) -> None:
    with running_viewer(tmp_path) as house, ExitStack() as stack:
        clients = [stack.enter_context(house.client()) for _ in range(4)]
        client = clients[0]
        link = re.findall(rf"{house.url}(/setup/\S+)", house.service.log)[0]
        assert "Nobody has an account yet" in client.get("/login").text
        assert client.get(f"{link}x").status_code == 404
        answer = client.post(link, data={"name": "anna", "password": "short"})
        assert (answer.status_code, "12 to 256 characters" in answer.text) == (400, True)
        answer = client.post(link, data={"name": "Not a name", "password": PASSWORD})
        assert (answer.status_code, "no account can be called" in answer.text) == (400, True)

        def make(number: int) -> httpx.Response:
            return clients[number].post(link, data={"name": f"user{number}", "password": PASSWORD})

        with ThreadPoolExecutor(len(clients)) as threads:
            answers = list(threads.map(make, range(len(clients))))
        (first,) = (number for number, answer in enumerate(answers) if answer.status_code == 303)
        assert answers[first].headers["location"] == "/"
        assert clients[first].get("/admin/users").status_code == 200
        assert client.get(link).status_code == 404
        assert client.post(link, data={"name": "eve", "password": PASSWORD}).status_code == 404
        assert [user.name for user in house.book.users()] == [f"user{first}"]
        assert "user-added" in Visit.of(clients[first]).get("/admin/audit").text


def test_the_cookie_is_kept_from_scripts_and_other_sites(house: House) -> None:
    with house.client() as client:
        answer = client.post("/login", data={"name": "vera", "password": PASSWORD})
        cookie = answer.headers["set-cookie"]
    assert re.fullmatch(r"icm-session=[\w-]{43}; HttpOnly; Max-Age=604800; Path=/; SameSite=lax", cookie)


def test_over_tls_the_cookie_is_this_hosts_alone_and_browsers_come_back_over_nothing_else(tmp_path: Path) -> None:
    add_user(tmp_path, "vera")
    tls = Certificates(tmp_path / "certs").server()
    files = {"certificate": str(tls.certificate), "key": str(tls.key)}
    with running_viewer(tmp_path, {"tls": files}) as house, house.client(verify=False) as client:
        answer = client.post("/login", data={"name": "vera", "password": PASSWORD})
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"]
        assert re.fullmatch(r"__Host-icm=[\w-]{43}; HttpOnly; Max-Age=\d+; Path=/; SameSite=lax; Secure", cookie)
        assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_logging_in_anew_ends_the_session_before(house: House) -> None:
    visit = house.logged_in("vera")
    before = dict(visit.client.cookies)
    assert visit.client.post("/login", data={"name": "vera", "password": PASSWORD}).status_code == 303
    assert dict(visit.client.cookies) != before
    with house.client() as client:
        client.cookies.update(before)
        assert client.get("/").status_code == 303


def test_after_logging_out_the_session_is_nobodys(house: House) -> None:
    visit = house.logged_in("vera")
    before = dict(visit.client.cookies)
    answer = visit.send("/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "You are logged out." in visit.get("/login").text
    assert "You are logged out." not in visit.get("/login").text
    with house.client() as client:
        client.cookies.update(before)
        assert client.get("/").status_code == 303


@pytest.mark.parametrize(
    ("wanted", "led_to"),
    [
        ("/account", "/account"),
        ("/?camera=gate&t=2026-11-03T15:00Z", "/?camera=gate&t=2026-11-03T15:00Z"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nset-cookie: x=y", "/"),
        ("/" + "a" * 3000, "/"),
        ("", "/"),
    ],
)
def test_after_logging_in_nobody_is_led_elsewhere(house: House, wanted: str, led_to: str) -> None:
    with house.client() as client:
        answer = client.post("/login", data={"name": "vera", "password": PASSWORD, "next": wanted})
        assert (answer.status_code, answer.headers["location"]) == (303, led_to)


def test_a_wrong_name_and_a_wrong_password_get_the_same_answer(house: House) -> None:
    with house.client() as client:
        texts = []
        for name in ("otto", "nobody"):
            answer = client.post("/login", data={"name": name, "password": "not the password"})
            assert answer.status_code == 401
            texts.append(answer.text.replace(name, "NAME"))
    assert texts[0] == texts[1]
    assert "or that is not its password" in texts[0]


def test_who_tries_too_often_waits_and_the_right_password_does_not_help(house: House) -> None:
    add_user(house.folder, "guessed")
    # From an address of its own, as failures of an address count together.
    elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
    headers = {"origin": house.url, "sec-fetch-site": "same-origin"}
    with httpx.Client(base_url=house.url, transport=elsewhere, headers=headers, timeout=30) as client:
        for _ in range(MOST_OF_BOTH):
            assert client.post("/login", data={"name": "guessed", "password": "guess"}).status_code == 401
        answer = client.post("/login", data={"name": "guessed", "password": PASSWORD})
        assert (answer.status_code, "too many attempts" in answer.text) == (429, True)
        assert 0 < int(answer.headers["retry-after"]) <= 300
        assert client.post("/login", data={"name": "otto", "password": PASSWORD}).status_code == 303
    house.book.delete_user("guessed")


def test_what_a_stranger_types_is_shown_as_text(house: House) -> None:
    hostile = '"><script>alert(1)</script>'
    with house.client() as client:
        answer = client.post("/login", data={"name": hostile, "password": "x", "next": "/"})
        page = client.get("/login", params={"next": f"/{hostile}"})
    assert "<script>alert" not in answer.text + page.text
    assert "&lt;script&gt;alert" in answer.text


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"name=vera", "text/plain", 415),
        (b"{}", "application/json", 415),
        (UPLOAD, "multipart/form-data; boundary=b", 415),
        (b"name=" + b"a" * 70_000, "application/x-www-form-urlencoded", 413),
        (b"&".join([b"a=b"] * 500), "application/x-www-form-urlencoded", 400),
        (b"name=vera&name=otto", "application/x-www-form-urlencoded", 400),
        (b"name=%ff", "application/x-www-form-urlencoded", 400),
        (b"\xff\xfe", "application/x-www-form-urlencoded", 400),
        (b"name", "application/x-www-form-urlencoded", 400),
        (b"", "application/x-www-form-urlencoded", 401),
    ],
)  # fmt: skip
def test_a_form_that_is_none_gets_one_clear_answer(house: House, content: bytes, kind: str, status: int) -> None:
    with house.client(accept="application/json") as client:
        answer = client.post("/login", content=content, headers={"content-type": kind})
    assert answer.status_code == status
    if status != 401:
        assert answer.json()["error"]["message"]


def test_without_a_login_provider_there_is_no_button_and_no_way_to_it(house: House) -> None:
    with house.client() as client:
        assert "login/provider" not in client.get("/login").text
        assert client.get("/login/provider").status_code == 404
