"""What people and logs get to see holds no secrets."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import SourceError
from shared.redaction import redacted
from shared.telemetry import configure_logging

PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="'\""), min_size=1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://me:pw@cam:554/live?x=1", "rtsp://me:***@cam:554/live?x=1"),
        ("rtsp://me:p@ss/w:rd@cam/live", "rtsp://me:***@cam/live"),
        ("rtsp://:pw@cam/", "rtsp://:***@cam/"),
        ("http://cam/?user=me&Password=pw&channel=1", "http://cam/?user=me&Password=***&channel=1"),
        ("{'url': 'rtsp://me:pw@cam/', 'name': 'x@y'}", "{'url': 'rtsp://me:***@cam/', 'name': 'x@y'}"),
        ("authorization: Bearer 0123456789abcdef_-", "authorization: Bearer ***"),
        ("a -----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY----- b", "a *** b"),
    ],
)
def test_secrets_are_left_out(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text", ["rtsp://cam:554/live", "127.0.0.1:7443", "mail me@example.org: now", "`authorization: Bearer <token>`"]
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert redacted(text) == text


@given(PASSWORDS)
def test_no_password_is_left_in_an_address(password: str) -> None:
    assert redacted(f"rtsp://user:{password}@camera/") == "rtsp://user:***@camera/"


def test_errors_show_none() -> None:
    assert str(SourceError("no picture from rtsp://me:pw@cam/")) == "no picture from rtsp://me:***@cam/"


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
    assert log.count("rtsp://me:***@cam/") >= 2
    assert "pw-in" not in log
