"""Holds as clients get them, and ask for them."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc

from icm.client.connection import Connection
from icm.client.messages import time_of
from icm.errors import ConfigError
from icm.v1 import hold_pb2, hold_pb2_grpc


@dataclass(frozen=True)
class Hold:
    """A stretch of time of which nothing is deleted.

    Attributes:
        id: its name.
        cameras: whose; empty for all.
        start: where it begins, UTC.
        end: where it ends, UTC, not included.
        owner: whose hold it is.
        reason: why.
        created: when it was added, UTC.
        expires: when it ends by itself, UTC; None if never.
        within_max_age: whether the limit of age deletes in it all the same.
        released: when it was released, UTC; None while it was not.
        released_by: who released it.
        added_by: whose certificate it was added with; empty over plaintext.
        max_bytes: its budget, of the cloud's disk; 0 for none.
        full: when that was found to be used up, UTC; None while it was not. What arrived later is not kept.
        bytes: what it keeps, until it is released.
        unprotected_bytes: what of its time it does not keep, if it has a budget.
    """

    id: str
    cameras: tuple[str, ...]
    start: datetime
    end: datetime
    owner: str
    reason: str
    created: datetime
    expires: datetime | None
    within_max_age: bool
    released: datetime | None
    released_by: str
    added_by: str = ""
    max_bytes: int = 0
    full: datetime | None = None
    bytes: int = 0
    unprotected_bytes: int = 0

    @staticmethod
    def of(message: hold_pb2.Hold) -> Hold:
        return Hold(
            id=message.id,
            cameras=tuple(message.cameras),
            start=time_of(getattr(message, "from")),
            end=time_of(message.to),
            owner=message.owner,
            reason=message.reason,
            created=time_of(message.created),
            expires=time_of(message.expires) if message.HasField("expires") else None,
            within_max_age=message.within_max_age,
            released=time_of(message.released) if message.HasField("released") else None,
            released_by=message.released_by,
            added_by=message.added_by,
            max_bytes=message.max_bytes,
            full=time_of(message.full) if message.HasField("full") else None,
            bytes=message.bytes,
            unprotected_bytes=message.unprotected_bytes,
        )


def _add_request(
    start: datetime,
    end: datetime,
    *,
    owner: str,
    reason: str,
    cameras: Sequence[str],
    expires: datetime | None,
    within_max_age: bool,
    max_bytes: int,
) -> hold_pb2.AddHoldRequest:
    """Raises ConfigError where a time has no time zone."""
    hold = hold_pb2.Hold(cameras=cameras, owner=owner, reason=reason, within_max_age=within_max_age)
    if not 0 <= max_bytes < 1 << 64:
        raise ConfigError(f"a hold's budget cannot be {max_bytes} bytes")
    hold.max_bytes = max_bytes
    for name, moment in (("from", start), ("to", end), ("expires", expires)):
        if moment is None:
            continue
        if moment.tzinfo is None:
            raise ConfigError(f"the time {moment} has no time zone: give one, such as datetime.now(datetime.UTC)")
        getattr(hold, name).FromDatetime(moment.astimezone(UTC))
    return hold_pb2.AddHoldRequest(hold=hold)


class HoldCalls(ABC):
    """What ``CloudClient`` does about holds."""

    _connection: Connection
    _holds: hold_pb2_grpc.HoldServiceStub

    @abstractmethod
    def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what may reach the cloud twice."""

    def add_hold(
        self,
        start: datetime,
        end: datetime,
        *,
        owner: str,
        reason: str,
        cameras: Sequence[str] = (),
        expires: datetime | None = None,
        within_max_age: bool = False,
        max_bytes: int = 0,
    ) -> Hold:
        """Keeps a stretch of time from being deleted.

        Args:
            start: where it begins, with its time zone.
            end: where it ends, not included.
            owner: whose hold it is.
            reason: why.
            cameras: whose; empty for all.
            expires: when it ends by itself; None for never.
            within_max_age: whether the limit of age deletes in it all the same.
            max_bytes: how many bytes of the cloud's disk it may keep; 0 for any number.

        Raises:
            ConfigError: it cannot be, or more lies in its time than it may keep.
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
            PermissionDeniedError: as of ``CloudClient.cameras``.
        """
        request = _add_request(
            start,
            end,
            owner=owner,
            reason=reason,
            cameras=cameras,
            expires=expires,
            within_max_age=within_max_age,
            max_bytes=max_bytes,
        )
        return Hold.of(self._once(self._holds.AddHold, request).hold)

    def holds(self, everything: bool = False) -> list[Hold]:
        """The holds, the oldest first.

        Args:
            everything: with those that were released or have expired.

        Raises:
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
        """
        answer = self._ask(self._holds.ListHolds, hold_pb2.ListHoldsRequest(all=everything))
        return [Hold.of(hold) for hold in answer.holds]

    def release_hold(self, name: str, by: str) -> Hold:
        """Ends a hold.

        Args:
            name: the hold's.
            by: who asks, for the record.

        Raises:
            NotFoundError: there is no such hold.
            PermissionDeniedError: another added it, and the certificate does not let its holder release such.
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
        """
        return Hold.of(self._once(self._holds.ReleaseHold, hold_pb2.ReleaseHoldRequest(id=name, by=by)).hold)

    def _once(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what must not reach the cloud twice."""
        attempts = self._connection.attempts(sent_twice=False)
        while True:
            try:
                return method(
                    request, timeout=attempts.remaining, metadata=self._connection.metadata, wait_for_ready=True
                )
            except grpc.RpcError as error:
                time.sleep(attempts.wait_after(error))


class AsyncHoldCalls(ABC):
    """What ``AsyncCloudClient`` does about holds."""

    _connection: Connection
    _holds: Any

    @abstractmethod
    async def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what may reach the cloud twice."""

    async def add_hold(
        self,
        start: datetime,
        end: datetime,
        *,
        owner: str,
        reason: str,
        cameras: Sequence[str] = (),
        expires: datetime | None = None,
        within_max_age: bool = False,
        max_bytes: int = 0,
    ) -> Hold:
        """As ``CloudClient.add_hold``."""
        request = _add_request(
            start,
            end,
            owner=owner,
            reason=reason,
            cameras=cameras,
            expires=expires,
            within_max_age=within_max_age,
            max_bytes=max_bytes,
        )
        return Hold.of((await self._once(self._holds.AddHold, request)).hold)

    async def holds(self, everything: bool = False) -> list[Hold]:
        """As ``CloudClient.holds``."""
        answer = await self._ask(self._holds.ListHolds, hold_pb2.ListHoldsRequest(all=everything))
        return [Hold.of(hold) for hold in answer.holds]

    async def release_hold(self, name: str, by: str) -> Hold:
        """As ``CloudClient.release_hold``."""
        request = hold_pb2.ReleaseHoldRequest(id=name, by=by)
        return Hold.of((await self._once(self._holds.ReleaseHold, request)).hold)

    async def _once(self, method: Callable[..., Any], request: Any) -> Any:
        """As ``CloudClient._once``."""
        attempts = self._connection.attempts(sent_twice=False)
        while True:
            try:
                return await method(
                    request, timeout=attempts.remaining, metadata=self._connection.metadata, wait_for_ready=True
                )
            except grpc.RpcError as error:
                await asyncio.sleep(attempts.wait_after(error))
