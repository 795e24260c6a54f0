"""The process that verifies, with the lowest priority that the system has: it reads all chains and hashes files.

It gets an ``Order`` as JSON on its standard input, and writes a line of JSON for each thing that it has to tell:
``segments`` so far, a ``report`` of a camera, ``done`` or a ``problem``. It ends when nobody reads that any more.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from cloud_service.database.damage import trouble
from cloud_service.database.opening import attach_database
from cloud_service.proof.chain_file import FOLDER
from cloud_service.proof.chain_index import ChainIndex
from cloud_service.proof.database_view import SqlView
from cloud_service.proof.verification import GOOD, CameraCheck, Status, Verdict
from cloud_service.seals.checking import SealCheck
from cloud_service.seals.files import FOLDER as SEALS
from cloud_service.verification.record import CameraReport, Verification
from icm.errors import IcmError
from icm.proof.chain import Head

_LOWEST = 19
"""What nice(2) ends at."""
_TELL_SECONDS = 0.5
_MOST_BROKEN = 20
_LAST_US = 253_402_300_799_999_999
"""The end of the year 9999."""


@dataclass(frozen=True)
class Place:
    """A store.

    Attributes:
        store: its folder.
        records: that of its segments.
        database: URL of its database.
    """

    store: Path
    records: Path
    database: str


def order_text(place: Place, verification: Verification) -> str:
    """What the process is to do, as it reads it."""
    of_place = {name: str(value) for name, value in asdict(place).items()}
    return json.dumps({"place": of_place, "of": asdict(verification)})


def main() -> None:
    """Does what standard input asks for."""
    os.nice(_LOWEST)
    said = json.load(sys.stdin)
    of = Verification.from_text(json.dumps(said["of"]))
    place = Place(Path(said["place"]["store"]), Path(said["place"]["records"]), said["place"]["database"])
    try:
        for line in _lines(place, of):
            print(json.dumps(line), flush=True)
    except BrokenPipeError:
        # The cloud has ended, or whoever asked does not wait any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _lines(place: Place, of: Verification) -> Iterator[dict[str, Any]]:
    try:
        yield from _told(place, of)
    except (IcmError, SQLAlchemyError, OSError) as error:
        yield {"problem": trouble(error) if isinstance(error, SQLAlchemyError) else str(error)}
    else:
        yield {"done": True}


def _told(place: Place, of: Verification) -> Iterator[dict[str, Any]]:
    database = attach_database(place.database)
    try:
        index, view = ChainIndex(database), SqlView(database)
        if of.from_us is None and of.to_us is None:
            known = (sum(last - first + 1 for first, last in index.load(camera).numbers) for camera in of.cameras)
            yield {"expected": sum(known)}
        witnesses = [Head.of(line.encode()) for line in of.witnesses]
        seen, told = 0, time.monotonic()
        for camera in of.cameras:
            seals = SealCheck(place.records, place.store / FOLDER / SEALS, frozenset())
            check = CameraCheck(
                records=place.records,
                chains=place.store / FOLDER,
                camera=camera,
                now_us=time.time_ns() // 1000,
                database=view,
                witnesses=witnesses,
                deep=of.deep,
                seals=seals,
            )
            found = _Found()
            begin, end = of.from_us or 0, _LAST_US if of.to_us is None else of.to_us
            for verdict in check.verdicts(begin, end):
                found.take(verdict)
                seen += 1
                if time.monotonic() - told >= _TELL_SECONDS:
                    told = time.monotonic()
                    yield {"segments": seen}
            yield {"segments": seen, "report": asdict(found.report(check, camera, witnesses))}
    finally:
        database.dispose()


class _Found:
    """Adds up what became of a camera's segments."""

    def __init__(self) -> None:
        self._segments, self._deleted = Counter[str](), Counter[str]()
        self._bytes = self._records = self._sealed = 0
        self._wrong: list[str] = []
        self._more = 0

    def take(self, verdict: Verdict) -> None:
        self._segments[verdict.status.value] += 1
        self._bytes, self._records = self._bytes + verdict.size, self._records + verdict.records
        self._sealed += verdict.sealed
        if verdict.status is Status.TOMBSTONE:
            self._deleted[verdict.detail.partition(";")[0]] += 1
        elif verdict.status not in GOOD:
            self._say(f"segment {verdict.number} is {verdict.status.value.lower()}: {verdict.detail}")

    def report(self, check: CameraCheck, camera: str, witnesses: list[Head]) -> CameraReport:
        """All that was found."""
        wrong, self._wrong = self._wrong, []
        more, self._more = self._more, 0
        for text in [*check.broken, *wrong]:
            self._say(text)
        for reason, count in check.pruned.reasons if check.pruned is not None else ():
            self._deleted[reason] += count
        return CameraReport(
            camera=camera,
            holds=not self._wrong,
            segments=dict(self._segments),
            deleted=dict(sorted(self._deleted.items())),
            broken=tuple(self._wrong),
            more_broken=self._more + more,
            blocks=check.blocks,
            head=check.head.line().decode() if check.head is not None else "",
            hashed_bytes=self._bytes,
            records=self._records,
            sealed=self._sealed,
            witnesses=sum(head.camera == camera for head in witnesses),
        )

    def _say(self, text: str) -> None:
        if len(self._wrong) < _MOST_BROKEN:
            self._wrong.append(text)
        else:
            self._more += 1


if __name__ == "__main__":
    main()
