"""Takes the seals that edges send, compares them with what is stored, and keeps them by segment.

It does so beside the records' way, within a second or two; a cloud that is killed in between has lost those seals, not
their records. A seal that does not fit what is stored is logged and left out.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from cloud_service.seals.files import append_parts, prune, record_hashes, seal_file
from cloud_service.store.segment import Segment
from icm.codec.bitstream.record import MAX_SEQUENCE
from icm.errors import IcmError, NotFoundError, ProofError, StorageError, StoredDamageError, storage_error
from icm.proof.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES
from icm.proof.merkle import root_of
from icm.proof.seals import MOST_RECORDS, Seal, SealedPart, part_of
from icm.proof.statements import MOST
from icm.service.clock import Clock
from icm.service.health import Problems
from icm.service.log_limit import LogLimit
from icm.v1 import ingest_pb2

log = logging.getLogger(__name__)
_TICK_SECONDS = 1.0
_PRUNE_SECONDS = 3600.0
_MOST_SEGMENTS = 32
"""That a seal's records may lie in: each is read."""
_MOST_WAITING = 10_000
"""Seals; a camera sends one in ten seconds."""


class _Received(NamedTuple):
    """A seal as it came: its camera, epoch and public key are its stream's."""

    camera: str
    epoch: int
    key: bytes
    seal: ingest_pb2.Seal


class SealKeeper:
    """Keeps seals, on a thread of its own. Thread-safe."""

    def __init__(
        self, *, records: Path, folder: Path, holder: Callable[[str, int, int], Segment | None],
        is_deleted: Callable[[str, int], bool], is_edge_key: Callable[[str, bytes], bool], clock: Clock,
        problems: Problems,
    ) -> None:  # fmt: skip
        """Creates the keeper of a store's seals.

        Args:
            records: the folder of segments.
            folder: of all seals.
            holder: the segment that holds a record of a camera, epoch and sequence.
            is_deleted: whether the chain of a camera says that a segment was deleted.
            is_edge_key: whether a camera's edge has this key, as the chain says; one that is asked first is noted.
        """
        self._records, self._folder, self._holder = records, folder, holder
        self._is_edge_key, self._problems = is_edge_key, problems
        self._is_deleted, self._clock, self._pruned_at = is_deleted, clock, -_PRUNE_SECONDS
        self._part, self._refusals = problems.part("seals"), LogLimit(log, logging.WARNING, clock)
        self._waiting: deque[_Received] = deque(maxlen=_MOST_WAITING)
        self._unwritten: dict[Path, list[SealedPart]] = defaultdict(list)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="seal-keeper", daemon=True)

    def take(self, camera: str, epoch: int, key: bytes, seal: ingest_pb2.Seal) -> None:
        """A seal came over a stream, whose records it is about are persisted."""
        sizes = (len(key), len(seal.signature))
        if sizes != (PUBLIC_KEY_BYTES, SIGNATURE_BYTES) or len(seal.lengths) >= 2 * MOST_RECORDS:
            self._refuse(camera, "its key or its signature is none, or it is over more than a seal may be")
            return
        self._waiting.append(_Received(camera, epoch, key, seal))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Keeps what came, and ends."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.work()
        self._refusals.flush()

    def work(self) -> None:
        """Keeps what came, as the thread does all the time; what the disk refuses is tried again with the next."""
        while self._waiting:
            received = self._waiting.popleft()
            try:
                parts = self._parts(received)
                self._compare_key(received)
                for path, part in parts:
                    self._unwritten[path].append(part)
            except (IcmError, OSError) as error:
                if isinstance(error, StorageError) and not isinstance(error, StoredDamageError):
                    # The database does not answer, or the disk is full.
                    self._waiting.appendleft(received)
                    break
                self._refuse(received.camera, str(error))
        try:
            for path in list(self._unwritten):
                append_parts(path, self._unwritten[path])
                del self._unwritten[path]
            if self._clock.monotonic() - self._pruned_at >= _PRUNE_SECONDS:
                self._pruned_at = self._clock.monotonic()
                prune(self._folder, self._records, self._is_deleted)
        except OSError as error:
            text = str(storage_error(error, error.filename or self._folder))
            if self._part.report(text):
                log.error("cannot keep seals, trying again: %s", text)
        else:
            self._part.clear()

    def _compare_key(self, received: _Received) -> None:
        """Makes a problem of a key that took the place of another without a word. Its seals are kept: they show it.

        Raises:
            StorageError: the disk refused to note the first.
        """
        part = self._problems.part("edge key", received.camera)
        if self._is_edge_key(received.camera, received.key):
            part.clear()
            return
        text = (
            f"records are sealed by {received.key.hex()}, which is not the edge's key as the chain has it: if the edge"
            f" was set up anew, run icm-cloud edge-key --camera {received.camera}; if not, somebody else sends them"
        )
        if part.report(text):
            log.error("camera %s: %s", received.camera, text)

    def _refuse(self, camera: str, why: str) -> None:
        self._refusals.say(camera, f"camera {camera}: leaving out a seal: {why}")

    def _run(self) -> None:
        while not self._stopping.wait(_TICK_SECONDS):
            self.work()

    def _parts(self, received: _Received) -> list[tuple[Path, SealedPart]]:
        """The parts of a seal, and the files that they go to.

        Raises:
            ProofError: it is not over what is stored.
            IcmError: what is stored cannot be read.
            OSError: likewise.
        """
        camera, epoch, key, of = received
        sequences = _sequences(of)
        if of.sealed_us > MOST:
            raise ProofError("its time is none")
        segments = self._segments(camera, epoch, sequences)
        hashes = [hashes[sequence] for sequence, (_, hashes) in zip(sequences, segments, strict=True)]
        seal = Seal(camera, epoch, tuple(sequences), of.sealed_us, root_of(hashes), key, of.signature)
        if not seal.holds():
            raise ProofError(f"it is not over what is stored of records {sequences[0]} to {sequences[-1]}")
        parts = []
        for _, run in groupby(enumerate(segments), key=lambda each: each[1][0].number):
            places = [place for place, _ in run]
            segment = segments[places[0]][0]
            part = part_of(seal, hashes, segment.number, places[0], len(places))
            parts.append((seal_file(self._folder, segment.path), part))
        return parts

    def _segments(self, camera: str, epoch: int, sequences: Sequence[int]) -> list[tuple[Segment, dict[int, bytes]]]:
        """The segment of each record, with the hashes of what that holds.

        Raises:
            NotFoundError: a record is not there.
            IcmError: a segment cannot be read.
            OSError: likewise.
        """
        found: list[tuple[Segment, dict[int, bytes]]] = []
        read = 0
        for sequence in sequences:
            if not found or sequence not in found[-1][1]:
                read += 1
                if read > _MOST_SEGMENTS:
                    raise ProofError(f"it is over records of more than {_MOST_SEGMENTS} segments")
                segment = self._holder(camera, epoch, sequence)
                hashes = record_hashes(self._records / segment.path)[1] if segment is not None else {}
                if segment is None or sequence not in hashes:
                    raise NotFoundError(f"record {sequence}, which it is over, is not there")
                found.append((segment, hashes))
            else:
                found.append(found[-1])
        return found


def _sequences(seal: ingest_pb2.Seal) -> list[int]:
    """The sequences that a seal is over.

    Raises:
        ProofError: they are none, or too many.
    """
    first, found = seal.first_sequence, list[int]()
    for place, length in enumerate(seal.lengths):
        if not length or first + length - 1 > MAX_SEQUENCE or (place % 2 == 0 and len(found) + length > MOST_RECORDS):
            found = []
            break
        if place % 2 == 0:
            found.extend(range(first, first + length))
        first += length
    if not found or seal.first_sequence < 1:
        raise ProofError(f"it is over no records, or over more than {MOST_RECORDS}")
    return found
