"""verify.html, the page with which a browser checks an evidence file without a network, and the words for people.

The page is one file made of several. Its content security policy lets these very scripts and styles run, known by their
digests, and nothing be loaded from anywhere: whatever an evidence file says can be shown, and never run.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

_PARTS = files(__package__) / "web"
_SCRIPTS = ("bytes", "zip", "signatures", "seals", "segments", "check", "view", "start")
"""In the order in which they are run, as one."""


def page() -> bytes:
    """The whole page."""
    html, style = ((_PARTS / f"verify.{ending}").read_text() for ending in ("html", "css"))
    script = "\n".join((_PARTS / f"{name}.js").read_text() for name in _SCRIPTS)
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; media-src blob:;"
        " base-uri 'none'; form-action 'none'"
    )
    for name, text in (("POLICY", policy), ("STYLE", style), ("SCRIPT", script)):
        html = html.replace(f"@{name}@", text, 1)
    return html.encode()


def readme() -> bytes:
    """What an evidence file says of itself to whoever receives it, ASCII."""
    return (_PARTS / "readme.txt").read_bytes()


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
