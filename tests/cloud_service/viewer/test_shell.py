"""The viewer as a process: it starts, answers, says how it is, and ends."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx
import pytest

from cloud_service.cli import main
from cloud_service.viewer.web.headers import POLICY
from tests.cloud_service.viewer.house import House, add_user, make_database, running_viewer


def test_who_is_not_logged_in_is_sent_to_the_login_and_back(house: House) -> None:
    with house.client() as client:
        answer = client.get("/?x=1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2F%3Fx%3D1")
        form = client.get(answer.headers["location"])
        assert 'name="next" value="/?x=1"' in form.text
        answer = client.post("/login", data={"name": "vera", "password": "a few words will do", "next": "/?x=1"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/?x=1")
        assert client.get("/").status_code == 200


def test_programs_get_errors_as_json_and_people_as_pages(house: House) -> None:
    with house.client(accept="application/json") as client:
        answer = client.get("/nowhere")
        assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "NOT_FOUND")
        answer = client.get("/")
        assert (answer.status_code, answer.json()["error"]["reason"]) == (401, "UNAUTHENTICATED")
    with house.client() as client:
        answer = client.get("/nowhere")
        assert answer.status_code == 404
        assert "<h1>Not Found</h1>" in answer.text


def test_every_answer_has_the_policy_and_none_may_be_kept_but_files(house: House) -> None:
    with house.client() as client:
        pages = [client.get(path) for path in ("/", "/login", "/nowhere")]
        file = client.get(re.findall(r'href="(/static/[^"]+\.css)"', pages[1].text)[0])
    for answer in (*pages, file):
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert {answer.headers["cache-control"] for answer in pages} == {"no-store"}
    assert "immutable" in file.headers["cache-control"]
    assert "unsafe" not in POLICY


def test_a_page_holds_no_script_or_style_of_its_own(house: House) -> None:
    text = house.logged_in("anna").get("/").text
    assert not re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=|javascript:", text)
    assert not re.findall(r"(?:src|href)=\"(?!/|#)", text)


def test_metrics_count_requests_by_page_and_health_is_told(house: House) -> None:
    house.logged_in("vera")
    text = httpx.get(f"{house.metrics}/metrics").text
    assert re.search(r'icm_viewer_requests_total\{page="/login",status="303"\} [1-9]', text)
    assert re.search(r'icm_viewer_request_seconds_count\{page="/"\} [1-9]', text)
    assert re.search(r'icm_viewer_logins_total\{outcome="ok"\} [1-9]', text)
    assert httpx.get(f"{house.metrics}/healthz").text == "ok\n"


def test_sigterm_ends_it_with_status_0(tmp_path: Path) -> None:
    with running_viewer(tmp_path) as house:
        with house.client() as client:
            assert client.get("/login").status_code == 200
            # The connection is still open.
            assert asyncio.run(house.service.stop()) == 0
        assert house.service.log.rstrip().endswith("stopped")


def test_accounts_outlive_the_database_and_sessions_do_not(tmp_path: Path) -> None:
    add_user(tmp_path, "vera")
    with running_viewer(tmp_path) as house:
        vera = house.logged_in("vera")
        for path in tmp_path.glob("cloud.db*"):
            path.rename(tmp_path / f"{path.name}.damaged")
        make_database(tmp_path)
        assert vera.get("/account").status_code == 303
        assert house.logged_in("vera").get("/account").status_code == 200


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("viewer.address=0.0.0.0:8080", "refusing to speak plaintext"),
        ("viewer.origin=icm.example", "an origin is https://host"),
        ("viewer.connections=0", "viewer.connections"),
        ("viewer.cloud.address=cloud.example:0", "port 0"),
        ("viewer.tls.certificate=missing.crt", "viewer.tls.key: required"),
    ],
)
def test_a_setting_that_cannot_work_is_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str, said: str
) -> None:
    make_database(tmp_path)
    capsys.readouterr()
    assert main(["viewer", "--set", f"store.folder={tmp_path}", "--set", setting]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_port_that_is_taken_is_named(house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_database(tmp_path)
    address = house.url.removeprefix("http://")
    flags = ["--set", f"store.folder={tmp_path}", "--set", f"viewer.address={address}"]
    assert main(["viewer", *flags]) == 2
    assert f"cannot listen on {address}: is another process using the port?" in capsys.readouterr().err


def test_a_damaged_book_of_accounts_is_named_and_nothing_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_user(tmp_path, "vera")
    book = tmp_path / "viewer" / "accounts.json"
    book.write_text(book.read_text()[:-20])
    assert main(["viewer", "--set", f"store.folder={tmp_path}"]) == 2
    assert f"{book} is damaged" in capsys.readouterr().err
