"""What an edge seals: records that the cloud says it has persisted, by the bytes that were sent."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from icm.errors import IcmError, SpoolError
from icm.proof.keys import SigningKey
from icm.proof.seals import MOST_RECORDS, make_seal, record_hash
from icm.service.clock import Clock
from icm.v1.ingest_pb2 import Seal

KEY_NAME = "seal.key"
SEAL_SECONDS = 10.0
"""How long a record that was persisted waits for its seal: so often, a seal takes 0.3 % of 25 kbit/s."""

_MOST_SENT = 1 << 16
"""Records whose acknowledgement is waited for: more than any credit."""


def seal_key(folder: Path) -> SigningKey:
    """The key that an edge seals with, in the folder of its spool; made where there is none.

    Raises:
        SpoolError: it cannot be read or written.
    """
    path = folder / KEY_NAME
    try:
        if path.exists():
            return SigningKey.load(path)
        key = SigningKey.new()
        key.save(path)
    except IcmError as error:
        raise SpoolError(f"cannot use the key that records are sealed with: {error}") from None
    return key


class Sealer:
    """Seals one camera's records, over as many streams as it takes. Belongs to the event loop.

    A record is sealed once the cloud has it, so that no seal is over one that the cloud refused. A seal counts as
    arrived when a record that was sent after it is acknowledged; until then it is made again with the next stream. What
    was persisted in the last seconds of an edge that dies stays without a seal.
    """

    def __init__(self, camera: str, key: SigningKey, clock: Clock) -> None:
        self._camera, self._key, self._clock = camera, key, clock
        self._epoch = 0
        self._sent: dict[int, bytes] = {}
        self._ready: dict[int, bytes] = {}
        self._ready_at = 0.0
        self._under_way: list[tuple[int, dict[int, bytes]]] = []

    @property
    def public_key(self) -> bytes:
        """Of the key that seals are signed with."""
        return self._key.public

    def begin(self, epoch: int) -> None:
        """A stream begins. Seals that may not have arrived are made again, unless the epoch is another."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._sent, self._ready = {}, {}
        else:
            for _, records in self._under_way:
                self._ready = records | self._ready
        self._under_way = []

    def sent(self, header: bytes, sequence: int, packed: bytes) -> None:
        """A record was sent under a stream header, for the first time or again: the cloud keeps the first that it
        gets.
        """
        self._sent.setdefault(sequence, record_hash(header, packed))
        while len(self._sent) > _MOST_SENT:
            # Dropped by the spool's policy while it was on its way, so nobody will say what became of it.
            del self._sent[next(iter(self._sent))]

    def settled(self, first: int, last: int, persisted: bool) -> None:
        """The cloud is done with records."""
        done = sorted(sequence for sequence in self._sent if first <= sequence <= last)
        for sequence in done:
            digest = self._sent.pop(sequence)
            if persisted:
                self._ready_at = self._ready_at if self._ready else self._clock.monotonic()
                self._ready[sequence] = digest
        self._under_way = [(after, records) for after, records in self._under_way if last <= after]

    def due_seconds(self) -> float | None:
        """How long until a seal is due; None while there is nothing to seal."""
        if not self._ready:
            return None
        if len(self._ready) >= MOST_RECORDS:
            return 0.0
        return max(0.0, self._ready_at + SEAL_SECONDS - self._clock.monotonic())

    def take(self, last_sent: int) -> Seal:
        """A seal over what is ready, at most ``MOST_RECORDS`` of it.

        Args:
            last_sent: no record after this one was sent before the seal is.
        """
        records = {sequence: self._ready[sequence] for sequence in sorted(self._ready)[:MOST_RECORDS]}
        self._ready = {sequence: digest for sequence, digest in self._ready.items() if sequence not in records}
        self._under_way.append((last_sent, records))
        now_us = self._clock.now_us()
        sealed = make_seal(camera=self._camera, epoch=self._epoch, records=records, sealed_us=now_us, key=self._key)
        return Seal(
            first_sequence=sealed.sequences[0],
            lengths=_lengths(sealed.sequences),
            sealed_us=now_us,
            signature=sealed.signature,
        )


def _lengths(sequences: tuple[int, ...]) -> list[int]:
    """How many follow each other, how many are left out, and so on by turns."""
    lengths: list[int] = []
    after = sequences[0]
    for _, run in groupby(enumerate(sequences), key=lambda each: each[1] - each[0]):
        of = [sequence for _, sequence in run]
        if lengths:
            lengths.append(of[0] - after)
        lengths.append(len(of))
        after = of[-1] + 1
    return lengths
