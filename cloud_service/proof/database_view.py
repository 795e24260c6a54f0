"""What a database says of a store, for who compares it with the chains; nothing of it is changed."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Engine, select

from cloud_service.database.tables import TombstoneRow
from cloud_service.proof.chain_index import ChainIndex
from cloud_service.proof.facts import facts_of
from cloud_service.proof.segment_files import Noted
from cloud_service.store.index import SegmentIndex, State
from cloud_service.store.index.rows import NUMBER, STATE, segment_of
from cloud_service.store.sequences import SequenceSet
from icm.proof.chain import Head
from icm.proof.entries import SegmentFacts


class SqlView:
    """A ``verification.DatabaseView`` of a database that a service may be using."""

    def __init__(self, database: Engine) -> None:
        self._database = database
        self._segments, self._chains = SegmentIndex(database), ChainIndex(database)

    def facts(self, camera: str, numbers: SequenceSet) -> Mapping[int, SegmentFacts | None]:
        """See ``DatabaseView``."""
        found: dict[int, SegmentFacts | None] = {}
        for row in self._segments.rows(camera, numbers):
            segment = segment_of(row)
            if row[STATE] == State.DAMAGED:
                found[row[NUMBER]] = None
            elif segment is not None and row[STATE] == State.WHOLE:
                found[segment.number] = facts_of(segment)
        return found

    def head(self, camera: str) -> Head | None:
        """See ``DatabaseView``."""
        return self._chains.load(camera).head

    def deleted(self, camera: str, number: int) -> Noted | None:
        """See ``DatabaseView``."""
        of = TombstoneRow
        query = select(of.reason, of.deleted_us).where(of.camera == camera, of.number == number)
        with self._database.connect() as connection:
            row = connection.execute(query).first()
        return Noted(*row) if row is not None else None
