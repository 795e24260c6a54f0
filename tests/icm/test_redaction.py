"""What people and logs get to see holds no secrets."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm.errors import SourceError
from icm.redaction import redacted
from icm.service.health import Problems
from icm.service.telemetry import configure_logging

PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="'\""), min_size=1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://me:pw@cam:554/live?x=1", "rtsp://cam:554/***"),
        ("rtsp://:pw@cam/", "rtsp://cam/"),
        ("RTSP://me:pw@[fe80::1%eth0]:554", "RTSP://[fe80::1%eth0]:554"),
        ("rtsp://token@cam/", "rtsp://cam/"),
        ("rtsp://cam/user=admin_password=pw_channel=1_stream=0.sdp?real_stream", "rtsp://cam/***"),
        ("rtsp://cam/live/pw/1", "rtsp://cam/***"),
        ("rtsp://cam?auth=pw", "rtsp://cam/***"),
        ("rtmp://cam/bcs/main?channel=0&user=me&password=pw", "rtmp://cam/***"),
        ("srt://cam:1?passphrase=pw", "srt://cam:1/***"),
        ("no picture from rtsp://cam:554/live: it is away", "no picture from rtsp://cam:554/***: it is away"),
        ("(rtsp://me:pw@cam, 'rtsp://me:p'w@cam/')", "(rtsp://cam, 'rtsp://cam/')"),
        # Where the password ends and the host begins nobody can tell.
        ("rtsp://me:p@ss/w:rd@cam/live", "rtsp://***"),
        ("http://cam/?user=me@home&pw=x", "http://***"),
        ("{'url': 'rtsp://me:pw@cam/', 'name': 'x@y'}", "{'url': 'rtsp://cam/', 'name': 'x@y'}"),
        ("rtsp//me:pw@cam/live is no address", "***@cam/live is no address"),
        ("me:pw@cam", "***@cam"),
        ("data:/rtsp://me:pw@cam/pw", "data:/rtsp://cam/***"),
        ("there is no file at rtsp:/me:pw@cam/pw: check it", "there is no file at rtsp:/cam/***: check it"),
        ("cam/live?user=me&pw=x&auth=y", "cam/live?user=me&pw=***&auth=***"),
        ("http://cam/?user=me&Password=pw&channel=1", "http://cam/***"),
        ("http://me:pw@proxy:3128", "http://proxy:3128"),
        ("postgresql+psycopg://icm:pw@db/icm?sslpassword=pw", "postgresql+psycopg://db/***"),
        ("s3://key:pw@bucket/cameras", "s3://bucket/cameras"),
        ("connecting failed: host=db password=pw user=icm", "connecting failed: host=db password=*** user=icm"),
        ("authorization: Bearer 0123456789abcdef_-", "authorization: Bearer ***"),
        ("Proxy-Authorization: Basic bWU6cHc1NTU1NTU1", "Proxy-Authorization: Basic ***"),
        ("a -----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY----- b", "a *** b"),
    ],
)
def test_secrets_are_left_out(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert redacted(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://cam:554",
        "127.0.0.1:7443",
        "mail me@example.org: now",
        "`authorization: Bearer <token>`",
        "https://github.com/ultralytics/assets/releases/download/v8.4.0/yolo26n.pt.",
        "sqlite:////data/cloud.db",
        "[::1]:7443",
        "data:/srv/data",
        "frame_api.tls.key=/certs/tls.key",
        "--set takes KEY=VALUE, such as metrics.address=127.0.0.1:9000",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert redacted(text) == text


@given(PASSWORDS)
def test_no_password_is_left_in_an_address(password: str) -> None:
    assert redacted(f"rtsp://user:{password}@camera/") in ("rtsp://camera/", "rtsp://***")
    for address in (
        "rtsp://camera/user=me_password={}_x=1",
        "rtsp://camera/{}",
        "rtsp://camera?{}=x",
        "rtmp://camera/a?{}",
    ):
        assert "(" + password + ")" not in redacted(address.format("(" + password + ")"))


def test_errors_show_none() -> None:
    assert str(SourceError("no picture from rtsp://me:pw@cam/")) == "no picture from rtsp://cam/"


def test_health_shows_none() -> None:
    problems = Problems()
    problems.part("database").report("no answer from postgresql://me:pw@db/icm")
    assert problems.lines() == ["database: no answer from postgresql://db/icm"]


def test_logs_show_none_not_even_in_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logging("debug")
        try:
            raise OSError("rtsp://me:pw-in-trace@cam/")
        except OSError:
            logging.getLogger("library").exception("cannot open %s", "rtsp://me:pw-in-text@cam/")
    finally:
        logging.basicConfig(level=level, handlers=handlers, force=True)
    log = capsys.readouterr().err
    assert log.count("rtsp://cam/") >= 2
    assert "pw-in" not in log
