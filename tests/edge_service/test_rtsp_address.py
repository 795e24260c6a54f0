"""Addresses of network cameras are taken apart before anything is opened; no text about one quotes a secret of it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from edge_service.cli import main
from edge_service.rtsp_address import parse_rtsp
from icm.errors import ConfigError
from tests.edge_service.test_edge_process import BUNDLE

SECRET = "pa55w"
REFUSED = {
    "rtsp://admin:pa55w/rd@cam/live": "write %2F for /",
    "rtsp://admin:pa55w?rd@cam/live": "%3F for ?",
    "rtsp://admin:pa55w#rd@cam/live": "%23 for #",
    "rtsp://admin:pa55w#@%rd/1:2?@127.0.0.1:554/cam": "write %2F for /",
    "rtsp://cam/user=me@home_password=pa55w": "write %40 for @",
    "rtsp://admin:pa55w@cam/my stream": "write %20",
    "rtsp://admin:pa55w@cam/live\r\nX: y": "write %20",
    "rtsp://admin:pa55w@cam:/live": "no such port",
    "rtsp://admin:pa55w@cam:99999/live": "no such port",
    "rtsp://admin:pa55w@cam:0/live": "port 0",
    "rtsp://admin:pa55w@/live": "no host name",
    "rtsp://admin:pa55w@1.2.3/live": "no IPv4 address",
    "rtsp://admin:pa55w@fe80::1/live": "an IPv6 address stands in brackets",
    "rtsp://admin:pa55w@fe80::1:554/live": "an IPv6 address stands in brackets: write [fe80::1]:554",
    "rtsp://admin:pa55w@[cam]/live": "no IPv6 address",
    "rtsp://admin:pa55w@[::1/live": "an IPv6 address stands in brackets",
    "rtsp//admin:pa55w@cam/live": "begins with rtsp://",
    "http://admin:pa55w@cam/live": "begins with rtsp://",
    "admin:pa55w@cam": "begins with rtsp://",
    f"rtsp://admin:{SECRET * 30}@cam": "127 characters",
}


@pytest.mark.parametrize("text", REFUSED)
def test_an_address_that_could_be_misread_is_refused_with_the_fix_and_without_its_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    config = tmp_path / "edge.yaml"
    camera = {"name": "gate", "source": {"kind": "rtsp", "url": text}}
    config.write_text(yaml.safe_dump({"bundle": str(BUNDLE), "cameras": [camera]}))
    assert main(["check", "--config", str(config)]) == 2
    error = capsys.readouterr().err
    assert "cameras.0.source.rtsp.url: " in error
    assert REFUSED[text] in error
    assert SECRET not in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("rtsp://cam", "rtsp://cam", "rtsp://cam"),
        ("RTSPS://cam:322/a%20b?x=1#y", "rtsps://cam:322/a%20b?x=1#y", "rtsps://cam:322/***"),
        ("rtsp://[fe80::1%eth0]/", "rtsp://[fe80::1%eth0]/", "rtsp://[fe80::1%eth0]/"),
        ("rtsp://me:p@ss@[::1]:8554/x", "rtsp://me:p%40ss@[::1]:8554/x", "rtsp://[::1]:8554/***"),
        ("rtsp://10.0.0.5/user=a_password=b", "rtsp://10.0.0.5/user=a_password=b", "rtsp://10.0.0.5/***"),
    ],
)
def test_what_is_plain_is_taken_as_it_is_meant(text: str, url: str, shown: str) -> None:
    address = parse_rtsp(text)
    assert (address.url, address.shown) == (url, shown)


@given(st.text(max_size=12), st.text(max_size=12))
def test_any_user_and_password_that_are_encoded_arrive(user: str, password: str) -> None:
    written = f"{quote(user, safe='')}:{quote(password, safe='')}"
    assume(len(written) <= 127)
    parts = urlsplit(parse_rtsp(f"rtsp://{written}@cam/live").url)
    assert (unquote(parts.username or ""), unquote(parts.password or ""), parts.hostname) == (user, password, "cam")


@given(st.text(st.characters(exclude_characters="/?#%", exclude_categories=["Cs"]), max_size=12))
def test_any_password_without_a_slash_question_mark_hash_and_percent_may_stand_as_it_is(password: str) -> None:
    assume(len(quote(password)) < 120)
    assert unquote(urlsplit(parse_rtsp(f"rtsp://me:{password}@cam/live").url).password or "") == password


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_one_error(rest: str) -> None:
    with suppress(ConfigError):
        assert parse_rtsp(f"rtsp://{rest}").shown.startswith("rtsp://")
