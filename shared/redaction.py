"""Secrets out of texts that people and logs get to see."""

from __future__ import annotations

import re

_SECRETS = (
    # user:password@ of a URL; up to the last @, since a password may hold one unescaped.
    (re.compile(r"(://[^/\s:@'\"]*):[^\s'\"]*@"), r"\1:***@"),
    # Cameras that want the password as a parameter of the address.
    (re.compile(r"([?&](?:password|passwd|pwd|pass|token|key|secret)=)[^&\s'\"]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"(bearer )[\w.~+/=-]{16,}", re.IGNORECASE), r"\1***"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), "***"),
)


def redacted(text: str) -> str:
    """The text with passwords in URLs, bearer tokens and private keys replaced by ``***``."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text
