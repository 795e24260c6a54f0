"""The way of one stream's records into the store: one group after the other, each until the store has taken it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Any

from cloud_service.ingest.acknowledgements import Acknowledgements
from cloud_service.metrics import Metrics
from cloud_service.store import GroupCommit, RawRecord
from icm.codec.bitstream.record import StreamHeader
from icm.errors import StorageError
from icm.service.health import HealthPart

log = logging.getLogger(__name__)
RECEIVED_SECONDS = 1.0
"""Records that the disk keeps waiting for so long are acknowledged as received. Before that, PERSISTED says enough:
a message for each record would cost the cloud a third of its time."""


class CommitState(Enum):
    """Where a stream's records stand."""

    IDLE = auto()
    """All that came is persisted."""
    WRITING = auto()
    """The store has a group."""
    REFUSED = auto()
    """The store refused a group, which it is given again after a while."""
    DRAINING = auto()
    """No record will follow; what came is with the store or will be."""
    ENDED = auto()
    """No record will follow, and none waits any more."""
    CLOSED = auto()
    """The stream is over, whatever the store says."""


_NEXT = {
    CommitState.IDLE: {CommitState.WRITING, CommitState.DRAINING, CommitState.CLOSED},
    CommitState.WRITING: {CommitState.IDLE, CommitState.REFUSED, CommitState.DRAINING, CommitState.CLOSED},
    CommitState.REFUSED: {CommitState.WRITING, CommitState.DRAINING, CommitState.CLOSED},
    CommitState.DRAINING: {CommitState.ENDED, CommitState.CLOSED},
    CommitState.ENDED: {CommitState.CLOSED},
    CommitState.CLOSED: set[CommitState](),
}
"""Which states may follow each."""


@dataclass
class _Group:
    """Records under one header that the store gets at once.

    Attributes:
        acknowledged: whether RECEIVED was sent.
    """

    header: StreamHeader
    records: Sequence[RawRecord]
    acknowledged: bool = False


class CommitQueue:
    """Hands one stream's records to the store and says what became of them. Belongs to the event loop.

    It works in callbacks and not in a task: to wake one twice for each record costs an eighth of all that a record
    costs. What a callback raises ends the stream; asyncio would log it, and the stream wait for ever.

    Attributes:
        state: changes in ``_enter`` only.
    """

    def __init__(
        self,
        *,
        camera: str,
        commit: GroupCommit,
        acks: Acknowledgements,
        persisted: Callable[[Sequence[RawRecord], Sequence[bool]], None],
        store_part: HealthPart,
        metrics: Metrics,
        retry_seconds: float,
    ) -> None:
        """Creates the queue of one stream.

        Args:
            acks: notified of records that wait long, and of the end.
            persisted: called with records that are on the disk, and whether each is new.
            store_part: the store as a part of the service's health.
            retry_seconds: how long to wait before trying again what the store refused.
        """
        self._camera, self._commit, self._acks, self._persisted = camera, commit, acks, persisted
        self._store_part, self._metrics, self._retry_seconds = store_part, metrics, retry_seconds
        self._waiting: list[tuple[StreamHeader, RawRecord]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._appending: asyncio.Future[list[bool]] | None = None
        self.state = CommitState.IDLE

    def add(self, header: StreamHeader, record: RawRecord) -> None:
        """A record has come; the credit bounds how many wait."""
        self._waiting.append((header, record))

    def flush(self) -> None:
        """Hands the store what has come, unless it is busy with earlier records of this stream: so their order is
        kept.
        """
        if self.state is CommitState.IDLE and self._waiting:
            self._enter(CommitState.WRITING)
            self._write_next()

    def end_input(self) -> None:
        """No record will follow. The stream ends once all that came is persisted, or the store refuses."""
        match self.state:
            case CommitState.IDLE:
                self._enter(CommitState.DRAINING)
                self._write_next()
            case CommitState.WRITING | CommitState.REFUSED:
                self._enter(CommitState.DRAINING)

    def close(self, forgotten: Callable[[], None]) -> None:
        """Ends the queue, once the stream is over.

        Args:
            forgotten: called once none of its records is in memory any more.
        """
        self._enter(CommitState.CLOSED)
        if self._timer is not None:
            self._timer.cancel()
        if self._appending is not None and not self._appending.done():
            # What the disk has not taken yet is in memory still, though nobody waits for it any more.
            self._appending.add_done_callback(lambda _: forgotten())
        else:
            forgotten()

    def _enter(self, state: CommitState) -> None:
        assert state in _NEXT[self.state], f"{self.state} -> {state}"
        self.state = state

    def _write_next(self) -> None:
        """Hands the store the next group; without one, what follows depends on whether more may come."""
        if not self._waiting:
            if self.state is CommitState.DRAINING:
                self._enter(CommitState.ENDED)
                self._acks.end()
            else:
                self._enter(CommitState.IDLE)
            return
        header = self._waiting[0][0]
        count = next((i for i, item in enumerate(self._waiting) if item[0] is not header), len(self._waiting))
        group = _Group(header, [record for _, record in self._waiting[:count]])
        del self._waiting[:count]
        self._later(RECEIVED_SECONDS, self._say_received, group)
        self._write(group)

    def _write(self, group: _Group) -> None:
        self._appending = self._commit.append(group.header, group.records)
        self._appending.add_done_callback(partial(self._guarded, self._written, group))

    def _write_again(self, group: _Group) -> None:
        if self.state is CommitState.REFUSED:
            self._enter(CommitState.WRITING)
        self._write(group)

    def _written(self, group: _Group, appending: asyncio.Future[list[bool]]) -> None:
        error = appending.exception()  # looked at in any case, else asyncio complains of one that nobody saw
        if self.state is CommitState.CLOSED:
            return
        assert self._timer is not None
        self._timer.cancel()
        if isinstance(error, StorageError):
            self._refused(group, error)
            return
        if self._store_part.clear():
            log.info("the record store takes records again")
        self._persisted(group.records, appending.result())
        self._write_next()

    def _refused(self, group: _Group, error: StorageError) -> None:
        self._metrics.store_failures.labels(self._camera).inc()
        if self._store_part.report(str(error)):
            log.error("not acknowledging, trying again every %g s: %s", self._retry_seconds, error)
        if self.state is CommitState.DRAINING:
            self._enter(CommitState.ENDED)
            self._acks.fail(error)
            return
        self._enter(CommitState.REFUSED)
        self._say_received(group)
        self._later(self._retry_seconds, self._write_again, group)

    def _say_received(self, group: _Group) -> None:
        if not group.acknowledged:
            group.acknowledged = True
            self._acks.received(group.records)

    def _later(self, seconds: float, step: Callable[..., None], *arguments: Any) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._guarded, step, *arguments)

    def _guarded(self, step: Callable[..., None], *arguments: Any) -> None:
        try:
            step(*arguments)
        except Exception as error:
            self._acks.fail(error)
