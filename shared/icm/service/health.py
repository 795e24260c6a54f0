"""What is wrong right now, for ``/healthz``."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field

from icm.redaction import redacted

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class HealthPart:
    """A part of the service that may be ailing; who watches it keeps it, and so reports and clears the same one.

    Attributes:
        name: as ``/healthz`` shows it.
    """

    name: str
    _problems: Problems = field(repr=False, compare=False)

    def report(self, text: str) -> bool:
        """The part is ailing, and why. Returns whether that is news, and so worth a line in the log: counts and sizes
        that grow while a problem lasts make no other of it.
        """
        return self._problems.report(self, text)

    def clear(self) -> bool:
        """The part is well. Returns whether that is news."""
        return self._problems.clear(self)


class Problems:
    """A line of text per ailing part. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: dict[HealthPart, str] = {}

    def part(self, kind: str, camera: str | None = None) -> HealthPart:
        """A part of the service.

        Args:
            kind: what it is, such as "database".
            camera: whose it is, where each camera has one.
        """
        return HealthPart(kind if camera is None else f"{kind} of {camera}", self)

    def report(self, part: HealthPart, text: str) -> bool:
        """See ``HealthPart.report``."""
        text = redacted(text)
        with self._lock:
            known = self._texts.get(part)
            self._texts[part] = text
            return known is None or _NUMBER.sub("#", known) != _NUMBER.sub("#", text)

    def clear(self, part: HealthPart) -> bool:
        """See ``HealthPart.clear``."""
        with self._lock:
            return self._texts.pop(part, None) is not None

    def lines(self) -> list[str]:
        """One line per problem, by part; empty when all is well."""
        with self._lock:
            return [f"{part.name}: {text}" for part, text in sorted(self._texts.items(), key=lambda item: item[0].name)]
