"""Whether the records of a segment are those that an edge sealed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cloud_service.seals.files import parts_in, record_hashes, seal_file
from icm.errors import ProofError, RecordError
from icm.proof.seals import Seal, SealedPart
from icm.proof.statements import EdgeKey

LATE_US = 3_600_000_000
"""How long after a key was replaced an edge's clock may say that it sealed with it."""


class SealVerdict(NamedTuple):
    """How many of a segment's records are sealed, how many there are, and what is wrong, if anything is."""

    sealed: int
    records: int
    wrong: str = ""


class SealCheck:
    """Of one camera's segments.

    Attributes:
        chained: the edge's keys as the camera's chain has them, the newest last.
        met: the keys that seals were by.
    """

    def __init__(self, records: Path, folder: Path, keys: frozenset[bytes]) -> None:
        """Creates the check.

        Args:
            records: the folder of segments.
            folder: of all seals.
            keys: of the edge, of which any may have sealed; none: those that the chain names, and where it names none,
                the first that is met.
        """
        self._records, self._folder, self._keys = records, folder, keys
        self.chained: list[EdgeKey] = []
        self.met: list[bytes] = []
        self._day: tuple[Path, dict[int, list[SealedPart]]] | None = None

    def of(self, number: int, path: str) -> SealVerdict:
        """The verdict on a segment.

        Args:
            path: of its file, relative to the folder of records.

        Raises:
            OSError: it, or its seals, cannot be read.
        """
        day = seal_file(self._folder, path)
        if self._day is None or self._day[0] != day:
            self._day = day, parts_in(day)
        try:
            header, hashes = record_hashes(self._records / path)
        except RecordError as error:
            return SealVerdict(0, 0, str(error))
        sealed: set[int] = set()
        for part in self._day[1].get(number, ()):
            try:
                if (part.seal.camera, part.seal.epoch) != (header.camera, header.epoch):
                    raise ProofError(f"a seal of camera {part.seal.camera}, epoch {part.seal.epoch}, is not about it")
                part.check(hashes)
                self._check_key(part.seal)
            except ProofError as error:
                return SealVerdict(len(sealed), len(hashes), str(error))
            sealed.update(part.sequences)
        return SealVerdict(len(sealed), len(hashes))

    def _check_key(self, seal: Seal) -> None:
        """Checks who sealed.

        Raises:
            ProofError: somebody else than the camera's edge.
        """
        key = seal.key
        if self._keys:
            if key not in self._keys:
                raise ProofError(f"it is sealed by another key: {key.hex()}")
        elif self.chained:
            self._check_chained(key, seal.sealed_us)
        elif self.met and key != self.met[0]:
            raise ProofError(f"it is sealed by another key: {key.hex()}")
        if key not in self.met:
            self.met.append(key)

    def _check_chained(self, key: bytes, sealed_us: int) -> None:
        named = [place for place, entry in enumerate(self.chained) if entry.key == key]
        if not named:
            raise ProofError(
                f"it is sealed by another key, {key.hex()}: the chain names {self.chained[-1].key.hex()}, and no entry"
                " says that it changed"
            )
        if named[-1] + 1 < len(self.chained) and sealed_us > self.chained[named[-1] + 1].at_us + LATE_US:
            raise ProofError(f"it is sealed by a key that had been replaced by then: {key.hex()}")
