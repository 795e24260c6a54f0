"""The pages of accounts, tokens and the audit log, as somebody uses them who administers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cloud_service.viewer.accounts.roles import Role
from icm.codec.bundle.shipped import SHIPPED
from tests.cloud_service.viewer.house import PASSWORD, House, add_user, running_viewer

NEW = "another few words"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One of its own, as accounts change."""
    folder = tmp_path_factory.mktemp("cloud")
    add_user(folder, "anna", Role.ADMIN)
    with running_viewer(folder) as house:
        yield house


def audit_of(house: House) -> str:
    """The page of the log, as a line a row."""
    rows = re.findall(r"<tr><th scope=\"row\".*?</tr>", house.logged_in("anna").get("/admin/audit").text, re.DOTALL)
    return "\n".join(re.sub(r"<[^>]+>", " ", row) for row in rows)


def test_an_account_is_added_logs_in_and_sees_its_cameras(house: House) -> None:
    anna = house.logged_in("anna")
    answer = anna.send("/admin/users", name="Vera", role="viewer", cameras="gate, yard-*", password=PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/users")
    assert "The account vera was added." in anna.get("/admin/users").text
    user = house.book.user("vera")
    assert user is not None
    assert (user.role, user.cameras) == (Role.VIEWER, ("gate", "yard-*"))
    assert "gate yard-*" in house.logged_in("vera").get("/account").text
    assert "user-added" in audit_of(house)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "anna"}, "there is an account anna already"),
        ({"name": "<b>"}, "no account can be called"),
        ({"role": "king"}, "there is no role"),
        ({"cameras": ""}, "name cameras, or *"),
        ({"cameras": "../etc"}, "names no camera"),
        ({"password": "short"}, "12 to 256 characters"),
        ({"role": "admin", "cameras": "gate"}, "sees every camera"),
    ],
)
def test_what_cannot_be_is_said_and_what_was_typed_stays(house: House, changed: dict[str, str], said: str) -> None:
    form = {"name": "otto", "role": "operator", "cameras": "gate", "password": NEW, **changed}
    answer = house.logged_in("anna").send("/admin/users", **form)
    assert answer.status_code == 400
    assert said in answer.text.replace("&#39;", "'")
    assert f'value="{form["name"].replace("<", "&lt;").replace(">", "&gt;")}"' in answer.text
    assert NEW not in answer.text
    assert house.book.user("otto") is None


def test_a_change_counts_at_once_and_a_new_password_ends_sessions(house: House) -> None:
    anna = house.logged_in("anna")
    anna.send("/admin/users", name="max", role="viewer", cameras="*", password=PASSWORD)
    browser = house.logged_in("max")
    assert browser.get("/admin/users").status_code == 403
    assert anna.send("/admin/users/max", role="admin", cameras="*", password="").status_code == 303
    assert browser.get("/admin/users").status_code == 200
    assert anna.send("/admin/users/max", role="viewer", cameras="gate", password=NEW).status_code == 303
    assert browser.get("/account").status_code == 303
    with house.client() as client:
        assert client.post("/login", data={"name": "max", "password": PASSWORD}).status_code == 401
        assert client.post("/login", data={"name": "max", "password": NEW}).status_code == 303
        assert (
            anna.send("/admin/users/max", role="viewer", cameras="gate", password="", disabled="yes").status_code == 303
        )
        assert client.get("/account").status_code == 303
        assert client.post("/login", data={"name": "max", "password": NEW}).status_code == 401
    assert anna.send("/admin/users/max/delete").status_code == 303
    assert house.book.user("max") is None
    assert anna.get("/admin/users/max").status_code == 404
    said = audit_of(house)
    for action in ("user-added", "log-in-failed", "user-changed", "user-deleted"):
        assert action in said


def test_the_last_who_administers_cannot_be_taken_away(house: House) -> None:
    anna = house.logged_in("anna")
    answer = anna.send("/admin/users/anna", role="viewer", cameras="*", password="")
    assert (answer.status_code, "the last account that administers" in answer.text) == (400, True)
    assert anna.send("/admin/users/anna/delete").status_code == 400


def test_a_password_of_ones_own_is_changed_and_other_sessions_end(house: House) -> None:
    house.logged_in("anna").send("/admin/users", name="nina", role="viewer", cameras="*", password=PASSWORD)
    one, other = house.logged_in("nina"), house.logged_in("nina")
    answer = one.send("/account/password", password="wrong", new=NEW)
    assert (answer.status_code, "not the present password" in answer.text) == (400, True)
    answer = one.send("/account/password", password=PASSWORD, new="short")
    assert (answer.status_code, "12 to 256 characters" in answer.text) == (400, True)
    assert one.send("/account/password", password=PASSWORD, new=NEW).status_code == 303
    assert "The password was changed" in one.get("/account").text
    assert other.get("/account").status_code == 303


def test_sessions_are_listed_and_ended(house: House) -> None:
    house.logged_in("anna").send("/admin/users", name="lena", role="viewer", cameras="*", password=PASSWORD)
    one, other, third = (house.logged_in("lena") for _ in range(3))
    page = one.get("/account").text
    assert page.count("python-httpx") == 3
    ids = re.findall(r'name="session" value="([0-9a-f]{64})"', page)
    assert len(ids) == 2
    for wrong in ("", "zz", "00" * 32):
        assert one.send("/account/sessions/end", session=wrong).status_code == 404
    anna = house.logged_in("anna")
    assert anna.send("/account/sessions/end", session=ids[0]).status_code == 404
    assert one.send("/account/sessions/end", session=ids[0]).status_code == 303
    assert sorted(each.get("/account").status_code for each in (other, third)) == [200, 303]
    assert one.send("/account/sessions/end-others").status_code == 303
    assert [each.get("/account").status_code for each in (one, other, third)] == [200, 303, 303]


def test_a_token_is_shown_once_works_and_is_revoked(house: House) -> None:
    anna = house.logged_in("anna")
    form = {"name": "wall display", "owner": "anna", "cameras": "gate", "days": "30"}
    answer = anna.send("/admin/tokens", **form, **{"scope-read": "yes"})
    assert answer.status_code == 200
    token = re.findall(r"icm_[0-9a-f]{8}_[\w-]{43}", answer.text)[0]
    assert token not in anna.get("/admin/tokens").text
    assert "wall display" in anna.get("/admin/tokens").text
    with house.client(authorization=f"Bearer {token}", accept="application/json") as program:
        assert program.get("/").status_code == 200
        assert program.get("/admin/users").status_code == 403
        assert anna.send("/admin/tokens/revoke", token=token[4:12]).status_code == 303
        assert program.get("/").status_code == 401
    assert anna.send("/admin/tokens/revoke", token=token[4:12]).status_code == 404
    said = audit_of(house)
    assert "token-made" in said
    assert "token-revoked" in said
    assert token not in said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": " "}, "say what the token is for"),
        ({"scope-read": None}, "a token needs a scope"),
        ({"cameras": ""}, "name cameras, or *"),
        ({"days": "0"}, "1 to 3650 days"),
        ({"days": "-1"}, "1 to 3650 days"),
        ({"days": "\u0661"}, "1 to 3650 days"),
        ({"owner": "nobody"}, "there is no account"),
    ],
)
def test_a_token_that_cannot_be_is_refused(house: House, changed: dict[str, str | None], said: str) -> None:
    form = {"name": "x", "owner": "anna", "cameras": "*", "days": "", "scope-read": "yes", **changed}
    sent = {name: value for name, value in form.items() if value is not None}
    answer = house.logged_in("anna").send("/admin/tokens", **sent)
    assert answer.status_code in (400, 404)
    assert said in answer.text


def test_the_page_of_the_log_checks_it_and_names_what_was_changed(house: House) -> None:
    anna = house.logged_in("anna")
    answer = anna.send("/admin/audit/verify")
    found = re.search(r"whole up to entry (\d+), whose digest is ([0-9a-f]{64})", answer.text)
    assert found is not None
    path = next((house.folder / "viewer" / "audit").glob("*.log"))
    content = path.read_bytes()
    path.write_bytes(content.replace(b" anna ", b" eve ", 1))
    assert "it does not follow" in anna.send("/admin/audit/verify").text
    path.write_bytes(content)
    assert anna.get("/admin/audit?before=../x").status_code == 404


def test_health_tells_details_to_who_administers_alone(house: House) -> None:
    house.logged_in("anna").send("/admin/users", name="olga", role="viewer", cameras="*", password=PASSWORD)
    visits = [house.logged_in(name) for name in ("anna", "olga")]
    # At once, as both wait for a cloud: none runs beside this viewer.
    with ThreadPoolExecutor(len(visits)) as threads:
        annas, olgas = threads.map(lambda visit: visit.get("/health").text, visits)
    assert "sqlite" in annas
    assert "does not work" in annas
    assert "does not work" in olgas
    assert "sqlite" not in olgas


def test_about_names_versions_the_codec_and_whose_scripts_are_here(house: House) -> None:
    page = house.logged_in("anna").get("/about").text
    for text in (*SHIPPED, "hls.js", "htmx.org", "Apache-2.0", "0BSD", "GNU Affero"):
        assert text in page
    licence = re.findall(r'href="(/static/[^"]+hls\.js\.LICENSE\.txt)"', page)[0]
    with house.client() as client:
        assert "Apache License" in client.get(licence).text
