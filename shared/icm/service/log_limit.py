"""Log lines that may come once for every frame: the first of a kind at once, then one in a while with the count."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from icm.service.clock import Clock

REPEAT_SECONDS = 60.0
"""From one line of a kind to the next."""


@dataclass
class _Kind:
    """When it was told last, in monotonic seconds, how many came since, and the text of the newest of them."""

    told: float
    held_back: int = 0
    text: str = ""


class LogLimit:
    """What was logged, by kind. Not thread-safe.

    How many lines were held back is told with the next one of their kind, or by ``flush``. Kinds are kept for ever.
    """

    def __init__(self, log: logging.Logger, level: int, clock: Clock) -> None:
        self._log, self._level, self._clock = log, level, clock
        self._kinds: dict[str, _Kind] = {}

    def say(self, kind: str, text: str) -> None:
        """Logs the text, unless one of its kind was logged a short while ago."""
        now = self._clock.monotonic()
        last = self._kinds.get(kind)
        if last is not None and now - last.told < REPEAT_SECONDS:
            last.held_back += 1
            last.text = text
            return
        self._kinds[kind] = _Kind(now)
        self._write(text, last.held_back if last is not None else 0)

    def flush(self) -> None:
        """Logs what was held back and not told yet: the newest of each kind, and how many came before it."""
        for last in self._kinds.values():
            if last.held_back:
                self._write(last.text, last.held_back - 1)
                last.held_back = 0

    def _write(self, text: str, more: int) -> None:
        since = f" (and {more} more like it since the last such line)" if more else ""
        self._log.log(self._level, "%s%s", text, since)
