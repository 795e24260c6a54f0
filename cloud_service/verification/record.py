"""What is known of one verification, as its file keeps it."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from icm.errors import StoredDamageError

_ID_BYTES = 4


class State(StrEnum):
    """How far a verification is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class CameraReport:
    """What was found of a camera.

    Attributes:
        camera: whose.
        holds: whether all does.
        segments: how many by what became of them, as ``proof.verification.Status``.
        deleted: how many by the reason of their deletion, those included whose entries the chain has dropped.
        broken: what does not hold, the first links first.
        more_broken: how many more there are.
        blocks: of its chain.
        head: the newest, as a line; empty if there is no chain yet.
        hashed_bytes: that were read.
        records: that were looked at for seals.
        sealed: how many of these an edge has sealed.
        witnesses: heads that edges have kept, and that were compared.
    """

    camera: str
    holds: bool
    segments: dict[str, int]
    deleted: dict[str, int]
    broken: tuple[str, ...]
    more_broken: int
    blocks: int
    head: str
    hashed_bytes: int
    records: int
    sealed: int
    witnesses: int


@dataclass(frozen=True)
class Verification:
    """A verification; times in microseconds since 1970, UTC.

    Attributes:
        id: its name.
        cameras: whose chains and files.
        deep: whether every file is read and hashed.
        from_us: first capture time of segments; None for the oldest.
        to_us: last capture time of segments; None for the newest.
        witnesses: lines of heads that edges have kept.
        by: who asked.
        created_us: when.
        state: how far it is.
        ended_us: when it ended; 0 while it has not.
        problem: why it failed; empty if it did not.
        segments: that were looked at.
        expected: segments that there are, about; 0 where nobody knows.
        reports: of the cameras that it has gone through.
    """

    id: str
    cameras: tuple[str, ...]
    deep: bool
    from_us: int | None
    to_us: int | None
    witnesses: tuple[str, ...]
    by: str
    created_us: int
    state: State = State.WAITING
    ended_us: int = 0
    problem: str = ""
    segments: int = 0
    expected: int = 0
    reports: tuple[CameraReport, ...] = field(default=())

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in (State.WAITING, State.RUNNING)

    def to_text(self) -> str:
        """JSON."""
        return json.dumps(asdict(self), indent=1)

    @staticmethod
    def from_text(text: str | bytes) -> Verification:
        """Reads what ``to_text`` wrote.

        Raises:
            StoredDamageError: it is something else.
        """
        try:
            said: dict[str, Any] = json.loads(text)
            if set(said) != {each.name for each in fields(Verification)}:
                raise ValueError
            return Verification(
                **{
                    **said,
                    "cameras": tuple(map(str, said["cameras"])),
                    "witnesses": tuple(map(str, said["witnesses"])),
                    "state": State(said["state"]),
                    "reports": tuple(report_of(each) for each in said["reports"]),
                }
            )
        except (ValueError, TypeError, KeyError):
            raise StoredDamageError("what is kept of a verification is damaged") from None


def report_of(said: dict[str, Any]) -> CameraReport:
    """A report out of JSON.

    Raises:
        TypeError: it is something else.
    """
    return CameraReport(**{**said, "broken": tuple(said["broken"])})


def new_id() -> str:
    """A name for a verification."""
    return f"v-{secrets.token_hex(_ID_BYTES)}"
