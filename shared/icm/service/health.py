"""What is wrong right now, for ``/healthz``."""

from __future__ import annotations

import re
import threading

from icm.redaction import redacted

_NUMBER = re.compile(r"\d+")


class Problems:
    """A line of text per ailing part. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: dict[str, str] = {}

    def report(self, part: str, text: str) -> bool:
        """The part is ailing, and why. Returns whether that is news, and so worth a line in the log: counts and sizes
        that grow while a problem lasts make no other of it.
        """
        text = redacted(text)
        with self._lock:
            known = self._texts.get(part)
            self._texts[part] = text
            return known is None or _NUMBER.sub("#", known) != _NUMBER.sub("#", text)

    def clear(self, part: str) -> bool:
        """The part is well. Returns whether that is news."""
        with self._lock:
            return self._texts.pop(part, None) is not None

    def lines(self) -> list[str]:
        """One line per problem, by part; empty when all is well."""
        with self._lock:
            return [f"{part}: {text}" for part, text in sorted(self._texts.items())]
