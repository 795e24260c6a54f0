"""Whether the records of a segment are those that an edge sealed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cloud_service.seals.files import parts_in, record_hashes, seal_file
from icm.errors import ProofError, RecordError
from icm.proof.seals import SealedPart


class SealVerdict(NamedTuple):
    """How many of a segment's records are sealed, how many there are, and what is wrong, if anything is."""

    sealed: int
    records: int
    wrong: str = ""


class SealCheck:
    """Of one camera's segments.

    Attributes:
        key: the public key that seals must be by: the one that was asked for, or else the first that is met.
    """

    def __init__(self, records: Path, folder: Path, key: bytes | None) -> None:
        """Creates the check.

        Args:
            records: the folder of segments.
            folder: of all seals.
            key: of the edge; None: the first that is met is trusted.
        """
        self._records, self._folder, self.key = records, folder, key
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
            if self.key is None:
                self.key = part.seal.key
            try:
                if (part.seal.camera, part.seal.epoch) != (header.camera, header.epoch):
                    raise ProofError(f"a seal of camera {part.seal.camera}, epoch {part.seal.epoch}, is not about it")
                part.check(hashes)
                if part.seal.key != self.key:
                    raise ProofError(f"it is sealed by another key: {part.seal.key.hex()}")
            except ProofError as error:
                return SealVerdict(len(sealed), len(hashes), str(error))
            sealed.update(part.sequences)
        return SealVerdict(len(sealed), len(hashes))
