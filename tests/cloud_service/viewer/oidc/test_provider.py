"""A provider that lies: a real HTTP server that signs with a key of its own, and what it says is not believed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from cloud_service.settings import CloudSettings
from cloud_service.viewer.app import ViewerApp
from cloud_service.viewer.oidc.attempt import Attempt
from cloud_service.viewer.oidc.provider import Provider
from cloud_service.viewer.settings import OidcSettings
from icm.errors import ConfigError, UnauthenticatedError, UnreachableError
from icm.service.clock import SystemClock
from tests.cloud_service.viewer.house import make_database

KEY, OTHER = RSAKey.generate_key(2048, {"kid": "one"}), RSAKey.generate_key(2048, {"kid": "two"})
PUBLIC = base64.urlsafe_b64encode(KEY.as_pem(private=False)).rstrip(b"=").decode()
CLIENT = "icm"


class Liar:
    """What the server says; a test changes what it lies about.

    Attributes:
        issuer: its address.
        claims: of the ID token, beside the usual ones.
        sign: makes the token of its claims.
        userinfo: what it says beside.
        metadata: what it says of itself, beside the usual.
        keys: that it shows.
        challenge: of PKCE, that the code was asked for with.
        asked: forms that came to the token endpoint.
    """

    def __init__(self) -> None:
        self.issuer = ""
        self.claims: dict[str, Any] = {}
        self.sign: Callable[[dict[str, Any]], str] = lambda claims: jwt.encode(
            {"alg": "RS256", "kid": "one"}, claims, KEY
        )
        self.userinfo: dict[str, Any] = {"sub": "s-1", "preferred_username": "greta", "groups": ["chiefs"]}
        self.metadata: dict[str, Any] = {}
        self.keys = [KEY]
        self.challenge = ""
        self.asked: list[dict[str, str]] = []

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        if path == "/.well-known/openid-configuration":
            places = {"token_endpoint": "/token", "jwks_uri": "/keys", "userinfo_endpoint": "/userinfo"}
            found = {name: self.issuer + place for name, place in places.items()}
            return 200, {
                "issuer": self.issuer, "authorization_endpoint": self.issuer + "/authorize", **found, **self.metadata
            }  # fmt: skip
        if path == "/keys":
            return 200, KeySet(self.keys).as_dict(private=False)
        if path == "/userinfo":
            return 200, self.userinfo
        self.asked.append(form)
        made = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if made != self.challenge:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "sub": "s-1", "iat": now, "exp": now + 60, **self.claims}
        claims = {name: value for name, value in claims.items() if value is not None}
        return 200, {"access_token": "a", "token_type": "Bearer", "id_token": self.sign(claims)}


@pytest.fixture
def liar() -> Iterator[Liar]:
    liar = Liar()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            form = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            status, said = liar.answer(self.path, {name: each[0] for name, each in parse_qs(form).items()})
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    liar.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield liar
    server.shutdown()
    thread.join()
    server.server_close()


def provider_of(liar: Liar) -> Provider:
    roles = [{"group": "chiefs", "role": "admin"}]
    settings = OidcSettings.model_validate({"issuer": liar.issuer, "client_id": CLIENT, "roles": roles})
    return Provider(settings, "http://viewer.test/login/provider/callback", SystemClock())


async def come_back(liar: Liar, **said: str) -> Any:
    """Logs in and comes back with the right state and the right nonce, but for what the test changes."""
    provider, attempt = provider_of(liar), Attempt.new("/")
    try:
        sent = parse_qs(urlsplit(await provider.login_address(attempt)).query)
        liar.challenge = sent["code_challenge"][0]
        liar.claims = {"nonce": sent["nonce"][0], **liar.claims}
        code = provider.code_of(attempt, {"code": "c", "state": sent["state"][0], **said})
        return await provider.prove(attempt, code)
    finally:
        await provider.close()


async def test_who_shows_the_code_shows_what_the_challenge_was_made_of(liar: Liar) -> None:
    proven = await come_back(liar)
    assert (proven.subject, proven.name, proven.groups) == (f"{liar.issuer} s-1", "greta", ("chiefs",))
    assert liar.asked[0]["redirect_uri"] == "http://viewer.test/login/provider/callback"


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "of another login"},
        {"nonce": None},
        {"aud": "another client"},
        {"aud": [CLIENT, "another"]},
        {"aud": None},
        {"iss": "https://elsewhere.example"},
        {"exp": 1},
        {"exp": None},
        {"exp": "soon"},
        {"iat": 9_999_999_999},
        {"nbf": 9_999_999_999},
        {"sub": None},
        {"sub": ""},
        {"sub": ["s-1"]},
        {"sub": "x" * 256},
        {"preferred_username": ["greta"], "groups": []},
        {"preferred_username": "greta", "groups": {"chiefs": True}},
    ],
    ids=str,
)
async def test_a_token_that_does_not_fit_proves_nothing(liar: Liar, claims: dict[str, Any]) -> None:
    liar.claims = claims
    with pytest.raises(UnauthenticatedError):
        await come_back(liar)


def unsigned(claims: dict[str, Any]) -> str:
    parts = ({"alg": "none"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


@pytest.mark.parametrize(
    "sign",
    [
        unsigned,
        lambda claims: jwt.encode({"alg": "RS256", "kid": "one"}, claims, OTHER),
        lambda claims: jwt.encode({"alg": "RS256", "kid": "two"}, claims, OTHER),
        lambda claims: jwt.encode({"alg": "HS256", "kid": "one"}, claims, OctKey.import_key(PUBLIC)),
        lambda claims: jwt.encode({"alg": "ES256", "kid": "one"}, claims, ECKey.generate_key("P-256")),
        lambda claims: "",
        lambda claims: "a.b.c",
        lambda claims: "." * 10_000,
    ],
    ids=["none", "another key", "a key not shown", "its public key as a secret", "another kind", "", "a.b.c", "dots"],
)
async def test_a_token_without_the_providers_signature_proves_nothing(liar: Liar, sign: Callable[..., str]) -> None:
    liar.sign = sign
    with pytest.raises(UnauthenticatedError, match="does not hold"):
        await come_back(liar)


async def test_userinfo_of_somebody_else_counts_for_nothing(liar: Liar) -> None:
    liar.userinfo["sub"] = "s-2"
    with pytest.raises(UnauthenticatedError, match="does not hold"):
        await come_back(liar)


@pytest.mark.parametrize(
    "said", [{"state": "f" * 64}, {"state": "\u00e4"}, {"error": "access_denied"}, {"iss": "https://elsewhere.example"}]
)
async def test_an_answer_that_was_not_asked_for_is_not_redeemed(liar: Liar, said: dict[str, str]) -> None:
    with pytest.raises(UnauthenticatedError):
        await come_back(liar, **said)
    assert liar.asked == []


@pytest.mark.parametrize(
    "metadata",
    [{"issuer": "https://elsewhere.example"}, {"token_endpoint": None}, {"authorization_endpoint": "javascript:x"}],
    ids=str,
)
async def test_a_provider_that_describes_another_one_is_not_used(liar: Liar, metadata: dict[str, Any]) -> None:
    liar.metadata = metadata
    with pytest.raises(UnreachableError, match="cannot be used now"):
        await come_back(liar)


@pytest.mark.parametrize("issuer", ["http://login.example", "ftp://x", "https://a@b", "https://x/?y", "https://[", "x"])
def test_an_issuer_is_an_address_that_nobody_else_can_answer_at(issuer: str) -> None:
    with pytest.raises(ValueError, match="issuer"):
        OidcSettings.model_validate({"issuer": issuer, "client_id": "x", "roles": [{"group": "x", "role": "admin"}]})


@pytest.mark.parametrize("cookie", ["", ".", "short./", "x" * 43, f"{'x' * 43}.{'y' * 4000}", f"{'ä' * 43}./"])
def test_what_a_browser_shows_is_an_attempt_or_none(cookie: str) -> None:
    attempt = Attempt.of(cookie)
    assert attempt is None or attempt.after == ""


def test_an_attempt_is_read_back_from_its_cookie() -> None:
    attempt = Attempt.new("/search?class=a;b&x=ä")
    assert Attempt.of(attempt.cookie) == attempt
    assert len({attempt.state, attempt.nonce, attempt.verifier, attempt.seed}) == 4


@pytest.mark.parametrize(
    ("origin", "missing", "said"),
    [(None, "", "needs viewer.origin"), ("http://127.0.0.1:1", "authlib", "pip install 'icm-bridge")],
)
async def test_what_a_login_provider_needs_is_said_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: str | None, missing: str, said: str
) -> None:
    for name in list(sys.modules):
        if missing and name.startswith((missing, "cloud_service.viewer.oidc.")):
            monkeypatch.delitem(sys.modules, name)
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    make_database(tmp_path)
    oidc = {"issuer": "http://127.0.0.1:1", "client_id": "icm", "roles": [{"group": "chiefs", "role": "admin"}]}
    viewer = {"address": "127.0.0.1:0", "metrics": "127.0.0.1:0", "origin": origin, "oidc": oidc}
    settings = CloudSettings.model_validate({"store": {"folder": tmp_path}, "viewer": viewer})
    with pytest.raises(ConfigError, match=re.escape(said)):
        ViewerApp(settings)
