"""What is known of one export, as it is kept beside its file."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from icm.errors import StoredDamageError

_ID_BYTES = 8


class State(StrEnum):
    """How far an export is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Verdict(StrEnum):
    """What a check of the file said."""

    NONE = "not checked"
    RUNNING = "being checked"
    HOLDS = "holds"
    BROKEN = "does not hold"
    FAILED = "could not be checked"


@dataclass(frozen=True)
class Export:
    """An export.

    Attributes:
        id: its name.
        owner: who asked for it.
        cameras: whose records are in it.
        from_us: where its range begins, microseconds since 1970.
        to_us: where that ends.
        case: what it is about.
        created_us: when it was asked for.
        state: how far it is.
        size: bytes of the file so far.
        expected: bytes that it will have, about; 0 where that is not known yet.
        problem: why it failed; empty if it did not.
        verdict: of a check.
        told: what the check said, for a person.
    """

    id: str
    owner: str
    cameras: tuple[str, ...]
    from_us: int
    to_us: int
    case: str
    created_us: int
    state: State = State.WAITING
    size: int = 0
    expected: int = 0
    problem: str = ""
    verdict: Verdict = Verdict.NONE
    told: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state in (State.DONE, State.FAILED) and self.verdict is not Verdict.RUNNING

    @property
    def share(self) -> int:
        """How far it is, in per cent."""
        return 0 if not self.expected else min(100, 100 * self.size // self.expected)

    def to_text(self) -> str:
        """JSON."""
        return json.dumps(asdict(self), indent=1)

    @staticmethod
    def from_text(text: str | bytes) -> Export:
        """Reads what ``to_text`` wrote.

        Raises:
            StoredDamageError: it is something else.
        """
        try:
            said: dict[str, Any] = json.loads(text)
            if set(said) != {field.name for field in fields(Export)}:
                raise ValueError
            return Export(
                **{
                    **said,
                    "cameras": tuple(map(str, said["cameras"])),
                    "state": State(said["state"]),
                    "verdict": Verdict(said["verdict"]),
                }
            )
        except (ValueError, TypeError, KeyError):
            raise StoredDamageError("what is kept of an export is damaged") from None


def new_id() -> str:
    """A name that nobody guesses."""
    return secrets.token_hex(_ID_BYTES)
