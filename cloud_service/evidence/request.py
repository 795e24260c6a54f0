"""What somebody asks to be exported, checked at the border."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from icm.camera_name import check_camera_name
from icm.codec.bitstream.record import LATEST_US
from icm.errors import ConfigError
from icm.evidence.layout import MOST_NAME, MOST_TEXT

MOST_CAMERAS = 256
_TEXT_CONTROLS = "\n\t"
_TURNING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Characters that show what follows them in another order than it stands there."""


@dataclass(frozen=True)
class ExportRequest:
    """An evidence file that is asked for.

    Attributes:
        cameras: their names, each once, in order.
        from_us: start of the range, microseconds since 1970.
        to_us: its end, which is not in it any more.
        case: what it is about, a text of some lines.
        exported_by: who asks, by their own account.
        caller: who asks, by the certificate that was shown; empty for none.
    """

    cameras: tuple[str, ...]
    from_us: int
    to_us: int
    case: str
    exported_by: str
    caller: str


def checked_request(
    *, cameras: list[str], from_us: int | None, to_us: int | None, case: str, exported_by: str, caller: str
) -> ExportRequest:
    """A request in which everything can be.

    Raises:
        ConfigError: something cannot.
    """
    if not 1 <= len(cameras) <= MOST_CAMERAS:
        raise ConfigError(f"an export is of 1 to {MOST_CAMERAS} cameras, not of {len(cameras)}: name them")
    for camera in cameras:
        check_camera_name(camera)
    if from_us is None or to_us is None:
        raise ConfigError("an export has a range: give its start (from) and its end (to)")
    if not 0 <= from_us < to_us <= LATEST_US:
        raise ConfigError(
            f"the range from {from_us} to {to_us} microseconds since 1970 is none: its start comes before its end, and"
            " both after 1970"
        )
    _check_text("what the case is about (case)", case, MOST_TEXT, _TEXT_CONTROLS)
    _check_text("who exports (exported_by)", exported_by, MOST_NAME, "")
    return ExportRequest(tuple(sorted(set(cameras))), from_us, to_us, case, exported_by, caller)


def _check_text(name: str, text: str, most: int, controls: str) -> None:
    if not text.strip():
        raise ConfigError(f"{name} is empty: an evidence file says it")
    if len(text) > most:
        raise ConfigError(f"{name} has {len(text)} characters; there may be {most}")
    for place, letter in enumerate(text):
        hidden = unicodedata.category(letter) in ("Cc", "Cs") and letter not in controls
        if hidden or unicodedata.bidirectional(letter) in _TURNING:
            raise ConfigError(
                f"{name} holds the character U+{ord(letter):04X} at place {place + 1}, which controls how others are"
                " shown: leave it out"
            )
