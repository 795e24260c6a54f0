"""HoldService: what must not be deleted, for other programs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.access.access import ANYBODY, Access, Caller
from cloud_service.database.damage import trouble
from cloud_service.holds.book import MOST_HOLDS, Hold, HoldBook, check_hold
from cloud_service.holds.budget import HoldMeter, check_fits, check_total
from icm.errors import ConfigError, IcmError, NotFoundError, StorageError
from icm.rpc.status import abort
from icm.service.clock import Clock
from icm.v1 import hold_pb2 as pb
from icm.v1.hold_pb2_grpc import HoldServiceServicer

_MOST_TEXT = 500
_FRESH_SECONDS = 60.0


class HoldService(HoldServiceServicer):
    """See hold.proto."""

    def __init__(
        self,
        *,
        holds: HoldBook,
        meter: HoldMeter,
        most_bytes: Callable[[], int],
        clock: Clock,
        access: Access = ANYBODY,
    ) -> None:
        """Creates the service.

        Args:
            meter: tells what lies in a hold's time.
            most_bytes: returns how many bytes of the disk all holds together may keep; raises OSError.
            access: who may read which camera.
        """
        self._holds, self._meter, self._most_bytes = holds, meter, most_bytes
        self._clock, self._access = clock, access
        self._measures: dict[str, tuple[float, int]] = {}

    async def AddHold(self, request: pb.AddHoldRequest, context: Any) -> pb.AddHoldResponse:
        """See hold.proto."""
        async with _errors_answered(context):
            caller = self._access.caller(context)
            hold = _hold(request.hold, self._clock.now_us(), caller.holder)
            _check_reads(caller, hold)
            return pb.AddHoldResponse(hold=await asyncio.to_thread(self._add, hold))

    async def ListHolds(self, request: pb.ListHoldsRequest, context: Any) -> pb.ListHoldsResponse:
        """See hold.proto."""
        async with _errors_answered(context):
            caller = self._access.caller(context)
            holds = self._holds.all() if request.all else self._holds.active(self._clock.now_us())
            seen = [hold for hold in holds if _reads(caller, hold)]
            return pb.ListHoldsResponse(holds=await asyncio.to_thread(lambda: [self._measured(hold) for hold in seen]))

    async def ReleaseHold(self, request: pb.ReleaseHoldRequest, context: Any) -> pb.ReleaseHoldResponse:
        """See hold.proto."""
        async with _errors_answered(context):
            caller = self._access.caller(context)
            hold = next((hold for hold in self._holds.all() if hold.id == request.id), None)
            if hold is None or not _reads(caller, hold):
                raise NotFoundError(f"there is no hold {request.id[:80]!r} to release; list them")
            caller.check_releases(hold.added_by)
            if not request.by.strip() or len(request.by) > _MOST_TEXT:
                raise ConfigError(f"a release must say who asks for it, in {_MOST_TEXT} characters at most")
            now = self._clock.now_us()
            released = await asyncio.to_thread(self._holds.release, hold.id, request.by, now)
            return pb.ReleaseHoldResponse(hold=_message(released))

    def _add(self, hold: Hold) -> pb.Hold:
        check_hold(hold)
        with _database_answers():
            check_fits(hold, self._meter)
            check_total(hold, self._holds.active(self._clock.now_us()), self._meter, self._most_bytes())
        return self._measured(self._holds.add(hold))

    def _measured(self, hold: Hold) -> pb.Hold:
        message = _message(hold)
        if hold.max_bytes and not hold.released_us:
            with _database_answers():
                message.bytes = self._meter.kept_bytes(hold)
                message.unprotected_bytes = self._meter.bytes(hold) - message.bytes
        elif not hold.released_us:
            message.bytes = self._unbounded(hold)
        return message

    def _unbounded(self, hold: Hold) -> int:
        """What a hold without a budget keeps, a minute old at most: it may be years, and nothing depends on it."""
        now = self._clock.monotonic()
        at, size = self._measures.get(hold.id, (0.0, 0))
        if hold.id not in self._measures or now - at >= _FRESH_SECONDS:
            with _database_answers():
                size = self._meter.kept_bytes(hold)
            if len(self._measures) >= MOST_HOLDS:
                self._measures.clear()
            self._measures[hold.id] = now, size
        return size


@contextmanager
def _database_answers() -> Iterator[None]:
    """Raises StorageError where the database does not answer in the block."""
    try:
        yield
    except SQLAlchemyError as error:
        raise StorageError(f"cannot measure the hold: {trouble(error)}") from error


def _reads(caller: Caller, hold: Hold) -> bool:
    return all(caller.reads(camera) for camera in hold.cameras or ("",))


def _check_reads(caller: Caller, hold: Hold) -> None:
    for camera in hold.cameras or ("",):
        caller.check_reads(camera)


def _hold(message: pb.Hold, now_us: int, added_by: str) -> Hold:
    return Hold(
        id="",
        cameras=tuple(message.cameras),
        from_us=_microseconds(message, "from"),
        to_us=_microseconds(message, "to"),
        owner=message.owner,
        reason=message.reason,
        created_us=now_us,
        expires_us=_microseconds(message, "expires"),
        within_max_age=message.within_max_age,
        added_by=added_by,
        max_bytes=message.max_bytes,
    )


def _microseconds(message: pb.Hold, field: str) -> int:
    if not message.HasField(field):  # type: ignore[arg-type]
        return 0
    try:
        return int(getattr(message, field).ToMicroseconds())
    except ValueError as error:
        raise ConfigError(f"AddHold: {field!r} is no time: {error}") from None


def _message(hold: Hold) -> pb.Hold:
    times = {
        "from": hold.from_us,
        "to": hold.to_us,
        "created": hold.created_us,
        "expires": hold.expires_us,
        "released": hold.released_us,
        "full": hold.full_us,
    }
    message = pb.Hold(
        id=hold.id,
        cameras=hold.cameras,
        owner=hold.owner,
        reason=hold.reason,
        within_max_age=hold.within_max_age,
        released_by=hold.released_by,
        added_by=hold.added_by,
        max_bytes=hold.max_bytes,
    )
    for name, time_us in times.items():
        if time_us or name in ("from", "to"):
            stamp = Timestamp()
            stamp.FromMicroseconds(time_us)
            getattr(message, name).CopyFrom(stamp)
    return message


@asynccontextmanager
async def _errors_answered(context: Any) -> AsyncIterator[None]:
    """Ends the call with the status of what the block raises."""
    try:
        yield
    except IcmError as error:
        await abort(context, error)
