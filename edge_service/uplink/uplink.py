"""The uplink: keeps one camera's record stream to the cloud open, and reports which records are persisted."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import grpc

from edge_service.metrics import EdgeMetrics
from edge_service.proof.sealing import Sealer
from edge_service.spool.camera_spool import CameraSpool
from edge_service.uplink.stream import RecordStream, kind_of
from icm.errors import CodecMismatchError, SpoolError, UplinkError
from icm.proof.keys import SigningKey
from icm.rpc.proxies import Proxy
from icm.rpc.status import reason_of, retry_seconds_of
from icm.service.backoff import Backoff
from icm.service.clock import Clock, SystemClock
from icm.service.health import Problems
from icm.service.log_limit import LogLimit
from icm.v1 import ingest_pb2_grpc

_log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.25
MOST_RETRY_SECONDS = 5.0
REFUSED_RETRY_SECONDS = 30.0
"""After a refusal that only a person can lift, such as a codec that the cloud does not have."""
_REFUSALS = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.PERMISSION_DENIED)
"""UNAUTHENTICATED is none: a renewed certificate may lie there any moment, and the next attempt shows it."""


def _what_it_does(code: grpc.StatusCode) -> str:
    if code in _REFUSALS:
        return "refuses"
    # It is there, and says when to come back.
    return "ends the stream for now" if code is grpc.StatusCode.RESOURCE_EXHAUSTED else "is away"


class Uplink:
    """Sends one camera's records for as long as ``run`` runs, over as many connections as that takes."""

    def __init__(
        self,
        spool: CameraSpool,
        codec_id: bytes,
        channel: grpc.aio.Channel,
        metrics: EdgeMetrics,
        problems: Problems,
        backoff: Backoff | None = None,
        batch_seconds: float = 0.0,
        acknowledged: Callable[[int, float], None] = lambda size, sent: None,
        clock: Clock | None = None,
        proxy: Proxy | None = None,
        witness: Callable[[str, str], None] = lambda camera, head: None,
        key: SigningKey | None = None,
    ) -> None:
        """Creates the uplink of a camera.

        Args:
            codec_id: of the records that will be made; those that wait in the spool carry their own.
            batch_seconds: how long a record waits for others to share its message.
            acknowledged: called with how many bytes the cloud is done with, in whole messages, and when the first was
                sent, in monotonic seconds.
            proxy: what lies between, for texts.
            witness: called, on a thread, with the camera and a head of its chain that the cloud shows.
            key: that records are sealed with; None: they get no seals.
        """
        self._spool, self._codec_id, self._metrics = spool, codec_id, metrics
        self._part = problems.part("uplink", spool.name)
        self._stub = ingest_pb2_grpc.IngestServiceStub(channel)
        self._batch_seconds, self._acknowledged = batch_seconds, acknowledged
        self._clock, self._witness = clock or SystemClock(), witness
        self._sealer = Sealer(spool.name, key, self._clock) if key is not None else None
        self._through = f" (through {proxy})" if proxy is not None else ""
        self._rejections = LogLimit(_log, logging.ERROR, self._clock)
        self._backoff = backoff or Backoff(FIRST_RETRY_SECONDS, MOST_RETRY_SECONDS)
        self._loop = asyncio.get_running_loop()
        self._work = asyncio.Event()
        self._settled = asyncio.Event()
        self._flush_now = asyncio.Event()
        self._resent = Counter[int]()
        self._waiters: dict[int, asyncio.Future[None]] = {}

    def announce(self) -> None:
        """There are new records in the spool. May be called from any thread."""
        self._loop.call_soon_threadsafe(self._work.set)

    async def drained(self) -> None:
        """Returns once no record of the camera waits. One caller at a time."""
        while not await asyncio.to_thread(self._spool.empty):
            await self._settled.wait()
            self._settled.clear()

    async def persisted(self, sequence: int) -> None:
        """Returns once the cloud has persisted this record, which was in the spool a moment ago.

        Raises:
            UplinkError: the cloud rejected it.
        """
        waiter = self._waiters.setdefault(sequence, self._loop.create_future())
        self._flush_now.set()
        try:
            if await asyncio.to_thread(self._spool.holds, sequence):
                await waiter
        finally:
            self._waiters.pop(sequence, None)
            if not self._waiters:
                self._flush_now.clear()

    async def run(self) -> None:
        """Connects, sends, and connects again; ends by being cancelled only."""
        try:
            while True:
                await self._clock.sleep(await self._attempt())
        finally:
            self._rejections.flush()

    async def _attempt(self) -> float:
        """One connection; returns how long to wait before the next."""
        try:
            await self._connection()
        except UplinkError as error:
            self._report(f"{error}{self._through}")
            return REFUSED_RETRY_SECONDS
        except grpc.aio.AioRpcError as error:
            refused = error.code() in _REFUSALS
            text = f"the cloud {_what_it_does(error.code())}: {error.code().name}: {error.details()}"
            if reason_of(error) == CodecMismatchError.reason:
                text += await asyncio.to_thread(self._held_back)
            self._report(text if refused else f"{text}{self._through}")
            if refused:
                return REFUSED_RETRY_SECONDS
            return max(self._backoff.next(), min(retry_seconds_of(error), REFUSED_RETRY_SECONDS))
        except SpoolError as error:
            self._report(str(error))
        return self._backoff.next()

    async def _connection(self) -> None:
        """One stream, from Hello to its end. Returns when another must be opened, as for records of another kind."""
        codec_id, epoch = await asyncio.to_thread(self._next_kind)
        call = self._stub.StreamRecords()
        stream = RecordStream(
            call,
            self._spool,
            codec_id,
            epoch,
            self._metrics,
            self._work,
            self._settle,
            self._batch_seconds,
            self._flush_now,
            self._acknowledged,
            self._rejections,
            self._resent,
            self._clock,
            self._witness,
            self._sealer,
        )
        tasks: list[asyncio.Task[None]] = []
        try:
            if not await stream.greet():
                return
            self._backoff.reset()
            if self._part.clear():
                _log.info("camera %s: the cloud takes records again", self._spool.name)
            tasks = [asyncio.create_task(stream.receive()), asyncio.create_task(stream.send())]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            # In this order, or grpc.aio leaks the call: end its users, wait for them, then end the call.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            call.cancel()

    def _next_kind(self) -> tuple[bytes, int]:
        """Codec and epoch of the next record; a spool may hold records from before a change of either."""
        batch = self._spool.read(0, 1, 0)
        return kind_of(batch) if batch else (self._codec_id, self._spool.epoch)

    def _held_back(self) -> str:
        """What a codec that the cloud does not have holds back, for its refusal."""
        with suppress(SpoolError):
            first, behind = self._spool.waiting_by_codec()
            return f"; {first} records of that codec wait, and {behind} of later ones behind them"
        return ""

    async def _settle(self, first: int, last: int, error: UplinkError | None) -> None:
        """The cloud is done with these records: it persisted them, or rejected them with this error."""
        await asyncio.to_thread(self._spool.persisted if error is None else self._spool.rejected, first, last)
        for sequence in [s for s in self._resent if s <= last]:
            del self._resent[sequence]
        for sequence in [s for s in self._waiters if first <= s <= last]:
            waiter = self._waiters.pop(sequence)
            if not waiter.done():
                waiter.set_result(None) if error is None else waiter.set_exception(error)
        self._settled.set()

    def _report(self, text: str) -> None:
        if self._part.report(text):
            _log.warning("camera %s: %s", self._spool.name, text)
