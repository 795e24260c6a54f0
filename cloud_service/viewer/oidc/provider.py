"""The provider of OpenID Connect: where it is asked, and what it proves. Authlib speaks to it.

What it says of itself and its keys are kept for an hour, and its keys fetched anew for a token of a key that is not
known. Nothing is asked of it before somebody logs in, so that the viewer starts without it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from cloud_service.viewer.oidc.attempt import Attempt
from cloud_service.viewer.settings import OidcSettings
from icm.config.watched_files import WatchedFiles, read_file
from icm.errors import ConfigError, UnauthenticatedError, UnreachableError
from icm.service.clock import Clock

# Signatures that need the provider's private key: none by a shared secret, and none at all.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_WELL_KNOWN = "/.well-known/openid-configuration"
_KEPT_SECONDS = 3600.0
_KEYS_AGAIN_SECONDS = 60.0
_SECONDS = 10.0
_LEEWAY_SECONDS = 60
_MOST_SUBJECT = 255
NOT_BEGUN_HERE = "this login was begun elsewhere, or is too old: begin again"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Proven:
    """Who logged in, by the provider's word.

    Attributes:
        subject: the provider and the person there, who stays the same whatever they are called.
        name: what they are called.
        groups: that they are in.
    """

    subject: str
    name: str
    groups: tuple[str, ...]


class Provider:
    """One provider. Belongs to one event loop."""

    def __init__(self, settings: OidcSettings, redirect_uri: str, clock: Clock) -> None:
        """Asks nothing yet.

        Args:
            settings: of the provider.
            redirect_uri: where it sends people back to.
            clock: for what has ended.

        Raises:
            ConfigError: the file with the secret cannot be read, or is empty.
        """
        self._settings, self._redirect_uri, self._clock = settings, redirect_uri, clock
        path = settings.secret_file

        def read() -> str:
            assert path is not None
            secret = read_file(path).strip().decode("utf-8", "replace")
            if not secret:
                raise ConfigError(f"{path} is to hold the secret that the login provider gave the viewer")
            return secret

        self._secret = WatchedFiles([path], read) if path else None
        self._http = httpx2.AsyncClient(timeout=_SECONDS)
        self._said: dict[str, Any] = {}
        self._said_at = self._keys_at = 0.0
        self._keys: KeySet | None = None

    async def close(self) -> None:
        """Closes connections."""
        await self._http.aclose()

    async def login_address(self, attempt: Attempt) -> str:
        """Where a browser is sent to log in.

        Raises:
            UnreachableError: the provider does not answer.
        """
        said = await self._within(self._metadata())
        async with self._client() as client:
            address, _ = client.create_authorization_url(
                said["authorization_endpoint"],
                state=attempt.state,
                nonce=attempt.nonce,
                code_verifier=attempt.verifier,
            )
        return str(address)

    async def logout_address(self, after: str) -> str | None:
        """Where a browser is sent to log out of the provider too; None if it has no such place.

        Args:
            after: where the provider is to send people back to.

        Raises:
            UnreachableError: the provider does not answer.
        """
        place = (await self._within(self._metadata())).get("end_session_endpoint")
        if not isinstance(place, str):
            return None
        query = urlencode({"client_id": self._settings.client_id, "post_logout_redirect_uri": after})
        return f"{place}{'&' if '?' in place else '?'}{query}"

    def code_of(self, attempt: Attempt, said: Mapping[str, str]) -> str:
        """The code that a browser comes back with.

        Args:
            attempt: that this browser began.
            said: the query that it comes back with.

        Raises:
            UnauthenticatedError: the provider refused, or this is not the answer to that attempt.
        """
        if "error" in said:
            raise UnauthenticatedError("the login provider let nobody in: begin again, or ask who administers it")
        state, code = said.get("state", ""), said.get("code", "")
        if not code or not secrets.compare_digest(state.encode(), attempt.state.encode()):
            raise UnauthenticatedError(NOT_BEGUN_HERE)
        # Of several providers that one viewer might be known to, the one that was asked (RFC 9207).
        if said.get("iss", self._settings.issuer) != self._settings.issuer:
            raise UnauthenticatedError("this answer is of another login provider than was asked: begin again")
        return code

    async def prove(self, attempt: Attempt, code: str) -> Proven:
        """Who a browser is, by the provider's word for a code.

        Args:
            attempt: that this browser began.
            code: that it came back with.

        Raises:
            UnauthenticatedError: that proves nothing.
            UnreachableError: the provider does not answer.
        """
        try:
            return await self._within(self._redeem(attempt, code))
        except (OAuthError, JoseError, KeyError, TypeError, ValueError) as error:
            why = getattr(error, "error", None) or type(error).__name__
            raise UnauthenticatedError(
                f"what the login provider says does not hold ({str(why)[:80]}): begin again"
            ) from None

    async def _redeem(self, attempt: Attempt, code: str) -> Proven:
        metadata = await self._metadata()
        async with self._client() as client:
            token = await client.fetch_token(
                metadata["token_endpoint"],
                grant_type="authorization_code",
                code=code,
                redirect_uri=self._redirect_uri,
                code_verifier=attempt.verifier,
            )
        claims = await self._claims(token, attempt.nonce)
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= _MOST_SUBJECT:
            raise UnauthenticatedError("the login provider names nobody: its ID token has no subject")
        wanted = (self._settings.name_claim, self._settings.groups_claim)
        if not all(claim in claims for claim in wanted) and "userinfo_endpoint" in metadata:
            claims = {**await self._userinfo(metadata, token["access_token"], subject), **claims}
        name, groups = claims.get(wanted[0]), claims.get(wanted[1], [])
        if not isinstance(name, str) or not name:
            raise UnauthenticatedError(f"the login provider does not say a name: its claim {wanted[0]} is missing")
        groups = [groups] if isinstance(groups, str) else groups
        if not isinstance(groups, list):
            raise UnauthenticatedError(f"the login provider does not say groups: its claim {wanted[1]} is no list")
        named = tuple(group for group in groups if isinstance(group, str))
        return Proven(f"{self._settings.issuer} {subject}", name, named)

    async def _claims(self, token: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """What an ID token says, its signature, audience, times and nonce checked."""
        text = token["id_token"]
        try:
            decoded = jwt.decode(text, await self._key_set(), algorithms=_ALGORITHMS)
        except (JoseError, ValueError):
            # Providers change their keys.
            if self._clock.monotonic() - self._keys_at < _KEYS_AGAIN_SECONDS:
                raise
            self._keys = None
            decoded = jwt.decode(text, await self._key_set(), algorithms=_ALGORITHMS)
        client_id = self._settings.client_id
        id_token = CodeIDToken(
            decoded.claims,
            decoded.header,
            options={
                "iss": {"essential": True, "value": self._settings.issuer},
                "aud": {"essential": True, "value": client_id},
                "nonce": {"essential": True, "value": nonce},
            },
            params={"client_id": client_id, "nonce": nonce, "access_token": token.get("access_token")},
        )
        id_token.validate(now=self._clock.now_us() // 1_000_000, leeway=_LEEWAY_SECONDS)
        return dict(id_token)

    async def _userinfo(self, metadata: Mapping[str, Any], access_token: str, subject: str) -> dict[str, Any]:
        found = await self._json(metadata["userinfo_endpoint"], {"authorization": f"Bearer {access_token}"})
        if found.get("sub") != subject:
            raise ValueError("userinfo is of somebody else")
        return found

    async def _metadata(self) -> dict[str, Any]:
        now = self._clock.monotonic()
        if self._said and now - self._said_at < _KEPT_SECONDS:
            return self._said
        said = await self._json(self._settings.issuer.rstrip("/") + _WELL_KNOWN)
        if said.get("issuer") != self._settings.issuer:
            raise _unreachable(f"it calls itself {str(said.get('issuer'))[:200]!r}, other than viewer.oidc.issuer")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if urlsplit(str(said.get(name))).scheme not in ("https", "http"):
                raise _unreachable(f"it does not say its {name}")
        self._said, self._said_at = said, now
        return said

    async def _key_set(self) -> KeySet:
        now = self._clock.monotonic()
        if self._keys is None or now - self._keys_at >= _KEPT_SECONDS:
            keys: Any = await self._json((await self._metadata())["jwks_uri"])
            self._keys, self._keys_at = KeySet.import_key_set(keys), now
        return self._keys

    async def _json(self, address: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        answer = await self._http.get(address, headers=dict(headers or {}))
        if answer.status_code != 200:
            raise _unreachable(f"it answers {answer.status_code} at {urlsplit(address).path[:200]}")
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise _unreachable(f"it answers no JSON at {urlsplit(address).path[:200]}")
        return found

    async def _within(self, what: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout(_SECONDS):
                return await what
        except (httpx2.HTTPError, TimeoutError, OSError):
            raise _unreachable("it does not answer") from None

    def _client(self) -> AsyncOAuth2Client:
        settings = self._settings
        return AsyncOAuth2Client(
            client_id=settings.client_id,
            client_secret=self._secret.current() if self._secret else None,
            token_endpoint_auth_method="client_secret_basic" if self._secret else "none",
            scope=" ".join(settings.scopes),
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            timeout=_SECONDS,
        )


def _unreachable(why: str) -> UnreachableError:
    return UnreachableError(
        f"the login provider cannot be used now ({why}): try again later, or log in with a password of the viewer"
    )
