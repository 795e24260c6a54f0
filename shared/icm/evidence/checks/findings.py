"""What the check of an evidence file finds, as lines for a person and a verdict for a program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a finding means."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong, but a person should know it."""
    LACKS = "lacks"
    """Something is not here, as the export itself says, or could not be checked."""
    WRONG = "WRONG"


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: what it means.
        text: for a person, begins with what it is about.
    """

    kind: Kind
    text: str


class Findings:
    """Everything that was found so far.

    Attributes:
        found: in its order.
    """

    def __init__(self, told: Callable[[Finding], None] = lambda _: None) -> None:
        """Begins without any.

        Args:
            told: each finding, as it is made.
        """
        self._told = told
        self.found: list[Finding] = []

    def ok(self, text: str) -> None:
        """Something was checked and is as it should be."""
        self._add(Kind.OK, text)

    def note(self, text: str) -> None:
        """Something that a person should know, and that nothing is wrong with."""
        self._add(Kind.NOTE, text)

    def lacks(self, text: str) -> None:
        """Something is not here, as the export itself says, or could not be checked."""
        self._add(Kind.LACKS, text)

    def wrong(self, text: str) -> None:
        """Something is not as it should be."""
        self._add(Kind.WRONG, text)

    @property
    def first_wrong(self) -> str:
        """The first thing that is wrong; empty if nothing is."""
        return next((finding.text for finding in self.found if finding.kind is Kind.WRONG), "")

    @property
    def count_wrong(self) -> int:
        """How many things are wrong."""
        return sum(finding.kind is Kind.WRONG for finding in self.found)

    @property
    def count_lacks(self) -> int:
        """How many things are not here, or could not be checked."""
        return sum(finding.kind is Kind.LACKS for finding in self.found)

    def _add(self, kind: Kind, text: str) -> None:
        finding = Finding(kind, text)
        self.found.append(finding)
        self._told(finding)
