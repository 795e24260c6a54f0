"""Secrets out of texts that people and logs get to see."""

from __future__ import annotations

import re

_HIDDEN = "***"
_CAMERAS = ("rtsp", "rtp", "rtmp", "srt", "udp", "tcp", "mms")
"""How the schemes of cameras' addresses begin. Many a camera wants its password somewhere in the path."""
# A camera's with one slash too, as where it was taken for a path. Up to the last @ of what holds no space: a password
# may hold anything else, quotes and slashes unescaped included.
_URL = re.compile(
    rf"\b((?:{'|'.join(_CAMERAS)})\w{{0,4}}(?=:/)|[a-z][a-z0-9+.-]{{0,30}}(?=://))(:/{{1,2}})(\S*@)?(\S*)",
    re.IGNORECASE,
)
_PLACE = re.compile(r"(?:\[[\w:.%]*\]|[\w.-]*)(?::\d+)?(?=[/?#]|$)")
_AFTER = ".,:;)]}'\""
"""At the end of an address: of the sentence and not of the address."""
# user:password@ of an address that is mistyped, or is written without a scheme.
_USER = re.compile(r"(?<![^\s'\"])[^\s'\"]+@")
_OTHERS = (
    (re.compile(r"(?<=[?&;])((?:pass|pw|auth|key)=)[^&\s'\"]+", re.IGNORECASE), rf"\1{_HIDDEN}"),
    (
        re.compile(r"(?<=[?&;,_/\s])((?:password|passwd|passphrase|pwd|secret|token)=)[^&\s'\"]+", re.IGNORECASE),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"((?:bearer|basic) )[\w.~+/=-]{16,}", re.IGNORECASE), rf"\1{_HIDDEN}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), _HIDDEN),
)


def redacted(text: str) -> str:
    """The text without secrets: of addresses are left scheme, host and port, and of those that are not a camera's the
    path if no value is given in it; passwords, tokens and private keys become ``***``.
    """
    text = _USER.sub(lambda found: f"{_HIDDEN}@" if ":" in found[0] else found[0], _URL.sub(_shown, text))
    for pattern, replacement in _OTHERS:
        text = pattern.sub(replacement, text)
    return text


def _shown(url: re.Match[str]) -> str:
    start, user, rest = url[1] + url[2], url[3] or "", url[4]
    camera = url[1].lower().startswith(_CAMERAS)
    address = rest.rstrip(_AFTER)
    after = rest[len(address) :]
    place = _PLACE.match(address)
    if place is None or re.search("[/?#]", user):
        # Where the password ends and the host begins nobody can tell.
        return f"{start}{_HIDDEN}{after}"
    beyond = address[place.end() :]
    if camera or "=" in beyond:
        beyond = f"/{_HIDDEN}" if beyond.strip("/") else beyond
    return f"{start}{place[0]}{beyond}{after}"
