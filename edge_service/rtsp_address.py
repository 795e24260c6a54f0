"""The address of a network camera: checked before anything is opened, and put as FFmpeg reads it rightly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from icm.config.addresses import parse_address
from icm.errors import ConfigError
from icm.redaction import redacted

_MOST_USER = 127
"""Characters of user and password; FFmpeg cuts off what is more, without a word."""
_SHAPE = re.compile(r"(?P<scheme>rtsps?)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_IN_USER = "!$&'()*+,;=:%"
"""What may stand in user and password as it is, beside letters, digits and -._~ (RFC 3986)."""


@dataclass(frozen=True)
class RtspAddress:
    """The address of an RTSP camera.

    Attributes:
        url: as FFmpeg takes it.
        shown: as people and logs get to see it. Cameras want passwords in all parts of it but scheme, host and port.
    """

    url: str
    shown: str


def parse_rtsp(text: str) -> RtspAddress:
    """Takes an rtsp:// or rtsps:// address apart. Special characters in user and password may stand as they are where
    it is plain what is meant; they are encoded here.

    Raises:
        ConfigError: it is none; says what to write instead, and quotes nothing of it.
    """
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise ConfigError("a camera's address begins with rtsp:// or rtsps://")
    scheme, rest = found["scheme"].lower(), found["rest"]
    user, at, place = found["authority"].rpartition("@")
    if "@" in rest:
        raise ConfigError(
            "a camera's address has an @ behind a /, ? or #, so that nobody can tell where the host begins: in user and"
            " password write %2F for /, %3F for ?, %23 for # and %25 for %; behind the host write %40 for @"
        )
    if re.search(r"[\s\x00-\x1f\x7f]", place + rest):
        raise ConfigError("a camera's address has a space or control character behind user and password: write %20")
    user = quote(re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", user), safe=_IN_USER)
    if len(user) > _MOST_USER:
        raise ConfigError(
            f"user and password of a camera's address may take {_MOST_USER} characters together, %25 and the like as"
            f" three, and take {len(user)}: give the camera a shorter password"
        )
    _check_place(place)
    return RtspAddress(f"{scheme}://{user}{at}{place}{rest}", redacted(f"{scheme}://{place}{rest}"))


def _check_place(place: str) -> None:
    """Checks the host and port of a camera's address.

    Args:
        place: a host, with a port or without.

    Raises:
        ConfigError: it is no host with a port that can be reached.
    """
    # The colons within brackets are the host's.
    whole = place if ":" in place.rpartition("]")[2] else f"{place}:554"
    try:
        port = parse_address(whole).port
    except ConfigError as error:
        raise ConfigError(f"in a camera's address, behind user and password, {error}") from None
    if port == 0:
        raise ConfigError("in a camera's address port 0 stands, at which nobody can be reached")
