"""Verifications by a cloud as clients get them, and ask for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from icm.client.messages import time_of
from icm.errors import ConfigError, ProtocolError
from icm.v1 import verification_pb2, verification_pb2_grpc

_STATES: Mapping[int, str] = {
    verification_pb2.VERIFICATION_STATE_WAITING: "waiting",
    verification_pb2.VERIFICATION_STATE_RUNNING: "running",
    verification_pb2.VERIFICATION_STATE_DONE: "done",
    verification_pb2.VERIFICATION_STATE_CANCELLED: "cancelled",
    verification_pb2.VERIFICATION_STATE_FAILED: "failed",
}


@dataclass(frozen=True)
class CameraReport:
    """What a verification found of a camera.

    Attributes:
        camera: whose.
        holds: whether all does.
        segments: how many by what became of them: "ok", "tombstone", "open", "MISSING", "ALTERED", "ADDED".
        deleted: how many were deleted by each reason.
        broken: what does not hold, the first links first, 20 at most.
        more_broken: how many more there are.
        blocks: of its chain.
        head: the newest, a line of heads.txt; empty if there is no chain yet.
        hashed_bytes: that were read.
        records: that were looked at for seals; 0 unless it was deep.
        sealed: how many of these an edge has sealed.
        witnesses: heads that edges have kept, and that were compared.
    """

    camera: str
    holds: bool
    segments: Mapping[str, int]
    deleted: Mapping[str, int]
    broken: tuple[str, ...]
    more_broken: int
    blocks: int
    head: str
    hashed_bytes: int
    records: int
    sealed: int
    witnesses: int

    @staticmethod
    def of(message: verification_pb2.CameraReport) -> CameraReport:
        return CameraReport(
            camera=message.camera,
            holds=message.holds,
            segments=dict(message.segments),
            deleted=dict(message.deleted),
            broken=tuple(message.broken),
            more_broken=message.more_broken,
            blocks=message.blocks,
            head=message.head,
            hashed_bytes=message.hashed_bytes,
            records=message.records,
            sealed=message.sealed,
            witnesses=message.witnesses,
        )


@dataclass(frozen=True)
class Verification:
    """A verification.

    Attributes:
        id: its name.
        cameras: whose chains and files.
        deep: whether every file is read and hashed.
        start: only segments from here on, UTC; None for all.
        end: only segments up to here, UTC; None for all.
        witnesses: how many heads that edges have kept it compares.
        by: who asked.
        created: when, UTC.
        ended: when it ended, UTC; None while it has not.
        state: "waiting", "running", "done", "cancelled" or "failed".
        problem: why it failed; empty if it did not.
        segments: that it has looked at.
        expected: segments that there are, about; 0 where nobody knows.
        reports: of the cameras that it has gone through.
    """

    id: str
    cameras: tuple[str, ...]
    deep: bool
    start: datetime | None
    end: datetime | None
    witnesses: int
    by: str
    created: datetime
    ended: datetime | None
    state: str
    problem: str
    segments: int
    expected: int
    reports: tuple[CameraReport, ...]

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("waiting", "running")

    @property
    def holds(self) -> bool:
        """Whether it came to its end, and found nothing that does not hold."""
        return self.state == "done" and all(report.holds for report in self.reports)

    @staticmethod
    def of(message: verification_pb2.Verification) -> Verification:
        """Raises ProtocolError: the message cannot be."""
        if message.state not in _STATES:
            raise ProtocolError(f"the cloud says that a verification is {message.state}, which is nothing")
        return Verification(
            id=message.id,
            cameras=tuple(message.cameras),
            deep=message.deep,
            start=time_of(getattr(message, "from")) if message.HasField("from") else None,
            end=time_of(message.to) if message.HasField("to") else None,
            witnesses=message.witnesses,
            by=message.by,
            created=time_of(message.created),
            ended=time_of(message.ended) if message.HasField("ended") else None,
            state=_STATES[message.state],
            problem=message.problem,
            segments=message.segments,
            expected=message.expected,
            reports=tuple(map(CameraReport.of, message.reports)),
        )


class VerificationCalls(ABC):
    """What ``CloudClient`` does about verifications."""

    _channel: Any

    @abstractmethod
    def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what may reach the cloud twice."""

    @abstractmethod
    def _once(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what must not reach the cloud twice."""

    def verify(
        self,
        cameras: Sequence[str],
        *,
        by: str,
        deep: bool = False,
        start: datetime | None = None,
        end: datetime | None = None,
        witnesses: Sequence[str] = (),
    ) -> Verification:
        """Has the cloud compare its archive with its chains, as ``icm-cloud verify`` does; ``verifications`` tells.

        Args:
            cameras: whose.
            by: who asks.
            deep: whether every file is read and hashed.
            start: only segments from here on, with its time zone.
            end: only segments up to here.
            witnesses: lines of heads.txt of an edge, which the chains must hold.

        Raises:
            ConfigError: one of them cannot be.
            NotFoundError: there is no such camera.
            BusyError: too many wait.
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
            PermissionDeniedError: as of ``CloudClient.cameras``.
        """
        stub = verification_pb2_grpc.VerificationServiceStub(self._channel)
        request = _start_request(cameras, by, deep, start, end, witnesses)
        return Verification.of(self._once(stub.StartVerification, request).verification)

    def verifications(self) -> list[Verification]:
        """What was verified and what is, the newest first.

        Raises:
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
        """
        stub = verification_pb2_grpc.VerificationServiceStub(self._channel)
        answer = self._ask(stub.ListVerifications, verification_pb2.ListVerificationsRequest())
        return [Verification.of(each) for each in answer.verifications]

    def cancel_verification(self, name: str) -> Verification:
        """Ends a verification that waits or runs.

        Raises:
            NotFoundError: there is none of this name.
            ConfigError: it has ended.
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
        """
        stub = verification_pb2_grpc.VerificationServiceStub(self._channel)
        request = verification_pb2.CancelVerificationRequest(id=name)
        return Verification.of(self._once(stub.CancelVerification, request).verification)


class AsyncVerificationCalls(ABC):
    """What ``AsyncCloudClient`` does about verifications."""

    _channel: Any

    @abstractmethod
    async def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what may reach the cloud twice."""

    @abstractmethod
    async def _once(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what must not reach the cloud twice."""

    async def verify(
        self,
        cameras: Sequence[str],
        *,
        by: str,
        deep: bool = False,
        start: datetime | None = None,
        end: datetime | None = None,
        witnesses: Sequence[str] = (),
    ) -> Verification:
        """As ``CloudClient.verify``."""
        stub: Any = verification_pb2_grpc.VerificationServiceStub(self._channel)
        request = _start_request(cameras, by, deep, start, end, witnesses)
        return Verification.of((await self._once(stub.StartVerification, request)).verification)

    async def verifications(self) -> list[Verification]:
        """As ``CloudClient.verifications``."""
        stub: Any = verification_pb2_grpc.VerificationServiceStub(self._channel)
        answer = await self._ask(stub.ListVerifications, verification_pb2.ListVerificationsRequest())
        return [Verification.of(each) for each in answer.verifications]

    async def cancel_verification(self, name: str) -> Verification:
        """As ``CloudClient.cancel_verification``."""
        stub: Any = verification_pb2_grpc.VerificationServiceStub(self._channel)
        request = verification_pb2.CancelVerificationRequest(id=name)
        return Verification.of((await self._once(stub.CancelVerification, request)).verification)


def _start_request(
    cameras: Sequence[str],
    by: str,
    deep: bool,
    start: datetime | None,
    end: datetime | None,
    witnesses: Sequence[str],
) -> verification_pb2.StartVerificationRequest:
    """Raises ConfigError where a time has no time zone."""
    request = verification_pb2.StartVerificationRequest(cameras=cameras, by=by, deep=deep, witnesses=witnesses)
    put_times(request, start, end)
    return request


def put_times(request: Any, start: datetime | None, end: datetime | None) -> None:
    """Sets ``from`` and ``to`` of a request.

    Raises:
        ConfigError: one has no time zone.
    """
    for name, moment in (("from", start), ("to", end)):
        if moment is None:
            continue
        if moment.tzinfo is None:
            raise ConfigError(f"the time {moment} has no time zone: give one, such as datetime.now(datetime.UTC)")
        getattr(request, name).FromDatetime(moment.astimezone(UTC))
