"""Logging in at a provider of OpenID Connect, with a real one and in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from cloud_service.viewer.accounts.audit import AuditLog
from icm.service.clock import SystemClock
from tests.browser import calm_page
from tests.cloud_service.viewer.house import House, Visit
from tests.cloud_service.viewer.oidc.conftest import RunningProvider

ELSEWHERE = "https://cdn.jsdelivr.net/**"
BUTTON = "Log in with Example"


@pytest.fixture
def page(browser: Browser, oidc_house: House, provider: RunningProvider) -> Iterator[Page]:
    context = browser.new_context()
    # The provider's own pages want a style from elsewhere; whatever else is asked of others fails the test.
    context.route(ELSEWHERE, lambda route: route.fulfill(body="", content_type="text/css"))
    with calm_page(context, oidc_house.url, provider.issuer, ELSEWHERE.rstrip("*")) as page:
        yield page
    context.close()


@pytest.fixture
def troubled(browser: Browser) -> Iterator[Page]:
    """A page at which something goes wrong, which browsers write into their console."""
    context = browser.new_context()
    context.route(ELSEWHERE, lambda route: route.fulfill(body="", content_type="text/css"))
    yield context.new_page()
    context.close()


def log_in(page: Page, subject: str) -> None:
    page.get_by_role("link", name=BUTTON).click()
    page.locator("input[name=sub]").fill(subject)
    page.get_by_role("button", name="Authorize").click()


def actions(house: House) -> list[tuple[str, str, str]]:
    page = AuditLog(house.folder / "viewer", SystemClock()).page()
    return [(entry.who, entry.action, entry.about) for entry in page.entries]


def test_somebody_of_a_group_gets_its_role_and_cameras_where_they_wanted_to_go_and_logs_out(
    page: Page, oidc_house: House, provider: RunningProvider
) -> None:
    provider.person("s-1", preferred_username="Greta", groups=["yard-guards", "choir", "gate-guards"])
    page.goto(f"{oidc_house.url}/cameras?x=1")
    log_in(page, "s-1")
    expect(page).to_have_url(f"{oidc_house.url}/cameras?x=1")
    expect(page.get_by_role("row", name="gate")).to_be_visible()
    expect(page.get_by_role("row", name="yard-1")).to_be_visible()
    expect(page.get_by_role("row", name="cellar")).to_have_count(0)
    assert [(who, action) for who, action, _ in actions(oidc_house)[:2]] == [
        ("greta", "log-in"),
        ("greta", "user-added"),
    ]
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("You are logged out.")).to_be_visible()
    page.goto(f"{oidc_house.url}/account")
    expect(page).to_have_url(re.compile("/login"))
    page.goto(f"{oidc_house.url}/logout/provider")
    assert urlsplit(page.url).netloc in (urlsplit(provider.issuer).netloc, urlsplit(oidc_house.url).netloc)


def test_what_is_sent_to_the_provider_binds_the_login_to_this_browser(oidc_house: House) -> None:
    seen = []
    for _ in range(2):
        with oidc_house.client() as client:
            answer = client.get("/login/provider", params={"next": "//elsewhere.example"})
            sent = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}
            assert sent["redirect_uri"] == f"{oidc_house.url}/login/provider/callback"
            assert (sent["response_type"], sent["code_challenge_method"]) == ("code", "S256")
            cookie = answer.headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=lax" in cookie
            seed = client.cookies["icm-login"]
            assert seed.endswith(".%2F")
            assert all(value not in seed for value in (sent["state"], sent["nonce"], sent["code_challenge"]))
            seen += [sent["state"], sent["nonce"], sent["code_challenge"]]
    assert len(set(seen)) == 6


def test_a_group_that_nobody_knows_gets_no_rights(troubled: Page, oidc_house: House, provider: RunningProvider) -> None:
    provider.person("s-2", preferred_username="mallory", groups=["strangers"])
    troubled.goto(f"{oidc_house.url}/login")
    log_in(troubled, "s-2")
    expect(troubled.get_by_role("alert")).to_contain_text("mallory is in no group that may look here")
    troubled.goto(f"{oidc_house.url}/cameras")
    expect(troubled).to_have_url(re.compile("/login"))
    assert oidc_house.book.user("mallory") is None
    assert actions(oidc_house)[0][:2] == ("mallory", "log-in-failed")


def test_who_left_the_group_loses_account_sessions_and_tokens_with_the_next_login(
    browser: Browser, oidc_house: House, provider: RunningProvider
) -> None:
    provider.person("s-3", preferred_username="carla", groups=["chiefs"])
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{oidc_house.url}/login?next=/admin/tokens")
    log_in(page, "s-3")
    expect(page).to_have_url(f"{oidc_house.url}/admin/tokens")
    cookies = {cookie["name"]: cookie["value"] for cookie in context.cookies(oidc_house.url)}
    with oidc_house.client() as client:
        client.cookies.update({"icm-session": cookies["icm-session"]})
        form = {"name": "a program", "owner": "carla", "cameras": "*", "days": "1", "scope-read": "yes"}
        made = Visit.of(client).send("/admin/tokens", **form)
        token = re.search(r"icm_[0-9a-f]{8}_[\w-]{43}", made.text)
        assert token is not None, made.text
        provider.person("s-3", preferred_username="carla", groups=[])
        other = browser.new_context()
        there = other.new_page()
        there.goto(f"{oidc_house.url}/login")
        log_in(there, "s-3")
        expect(there.get_by_role("alert")).to_contain_text("in no group")
        assert client.get("/cameras").status_code == 303
    with oidc_house.client(authorization=f"Bearer {token[0]}", accept="application/json") as program:
        assert program.get("/cameras").status_code == 401
    other.close()
    context.close()


def test_an_account_follows_the_person_and_not_the_name(
    page: Page, oidc_house: House, provider: RunningProvider
) -> None:
    provider.person("s-4", preferred_username="dora", groups=["gate-guards"])
    page.goto(f"{oidc_house.url}/login?next=/account")
    log_in(page, "s-4")
    expect(page).to_have_url(f"{oidc_house.url}/account")
    provider.person("s-4", preferred_username="dora-new", groups=["gate-guards"])
    page.get_by_role("button", name="Log out").click()
    log_in(page, "s-4")
    expect(page.get_by_role("link", name="dora", exact=True)).to_be_visible()
    assert oidc_house.book.user("dora-new") is None


@pytest.mark.parametrize(
    ("name", "said"),
    [("anna", "not of the login provider"), ("<b>eve</b>", "no account can be called"), ("", "does not say a name")],
)
def test_a_name_at_the_provider_takes_no_account_over_and_is_one(
    troubled: Page, oidc_house: House, provider: RunningProvider, name: str, said: str
) -> None:
    provider.person("s-5", preferred_username=name, groups=["chiefs"])
    troubled.goto(f"{oidc_house.url}/login")
    log_in(troubled, "s-5")
    expect(troubled.get_by_role("alert")).to_contain_text(said)
    anna = oidc_house.book.user("anna")
    assert anna is not None
    assert anna.subject == ""


@pytest.mark.parametrize(("changed", "said"), [("nonce", "does not hold"), ("state", "begun elsewhere")])
def test_an_answer_for_another_login_lets_nobody_in(
    troubled: Page, oidc_house: House, provider: RunningProvider, changed: str, said: str
) -> None:
    def change(route: Route) -> None:
        place, _, query = route.request.url.partition("?")
        sent = {name: values[0] for name, values in parse_qs(query).items()}
        route.continue_(url=f"{place}?{urlencode({**sent, changed: 'f' * 64})}")

    provider.person("s-6", preferred_username="frieda", groups=["chiefs"])
    troubled.route(re.compile("/oauth2/authorize"), change)
    troubled.goto(f"{oidc_house.url}/login")
    log_in(troubled, "s-6")
    expect(troubled.get_by_role("alert")).to_contain_text(said)
    assert oidc_house.book.user("frieda") is None


def test_who_says_no_at_the_provider_is_told_so(troubled: Page, oidc_house: House) -> None:
    troubled.goto(f"{oidc_house.url}/login")
    troubled.get_by_role("link", name=BUTTON).click()
    troubled.get_by_role("button", name="Deny").click()
    expect(troubled.get_by_role("alert")).to_contain_text("let nobody in")


def test_a_code_counts_in_the_browser_that_began_the_login_alone(oidc_house: House, provider: RunningProvider) -> None:
    provider.person("s-7", preferred_username="gerd", groups=["chiefs"])
    with oidc_house.client() as client:
        place = client.get("/login/provider").headers["location"]
        back = httpx.post(place, data={"sub": "s-7"}).headers["location"]
    assert "code=" in back
    with oidc_house.client() as stranger:
        assert "begun elsewhere" in stranger.get(back).text
        stranger.get("/login/provider")
        assert "begun elsewhere" in stranger.get(back).text
        assert "icm-session" not in stranger.cookies


def test_while_the_provider_is_down_one_sentence_says_so_and_passwords_work(
    troubled: Page, oidc_house: House, provider: RunningProvider
) -> None:
    with ThreadPoolExecutor(1) as thread:
        provider.kill()
        with oidc_house.client() as client:
            client.get("/login/provider")
            answer = client.get(f"/login/provider/callback?code=x&state={'0' * 64}")
            assert answer.status_code == 401
        troubled.goto(f"{oidc_house.url}/login")
        # What it said of itself is kept for an hour: the token is asked for in vain.
        troubled.route(re.compile("/oauth2/authorize"), lambda route: route.fulfill(status=303, headers=back_of(route)))
        troubled.get_by_role("link", name=BUTTON).click()
        expect(troubled.get_by_role("alert")).to_have_text(
            "the login provider cannot be used now (it does not answer): try again later, or log in with a password of"
            " the viewer"
        )
        assert oidc_house.logged_in("anna").get("/account").status_code == 200
        thread.submit(provider.start).result()


def back_of(route: Route) -> dict[str, str]:
    sent = parse_qs(urlsplit(route.request.url).query)
    query = urlencode({"code": "x", "state": sent["state"][0]})
    return {"location": f"{sent['redirect_uri'][0]}?{query}"}
